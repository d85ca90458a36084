"""1 is "different" and nothing else: whatever ends a command, it leaves with the right code and without a traceback."""

import ast
import errno
import logging
from pathlib import Path
from typing import Any, Never

import click
import pytest

import hnexport.cli
from hnexport.cli.faults import exit_code
from hnexport.cli.main import COMMANDS
from hnexport.errors import BundleError, TuneFailedError


class PanicException(BaseException):
    """As libraries in Rust panic."""


ENDS = {
    "a return": (None, 0, ""),
    "sys.exit": (SystemExit(), 0, ""),
    "different": (SystemExit(1), 1, ""),
    "a text": (SystemExit("no\x1b[2J"), 2, r"Error: no\x1b[2J"),
    "click's exit": (click.exceptions.Exit(0), 0, ""),
    "Ctrl-C": (KeyboardInterrupt(), 130, ""),
    "an abort": (click.Abort(), 130, ""),
    "bad usage": (click.UsageError("no \u202esuch"), 2, r"Error: no \u202esuch"),
    "a bad file": (click.FileError("x\x07", "gone"), 2, r"'x\x07': gone"),
    "one of ours": (BundleError("a\n\x1b[1mb"), 2, "Error: a\n  \\x1b[1mb"),
    "ours, measured": (TuneFailedError("member 0 differs"), 1, "Error: member 0 differs"),
    "no memory": (MemoryError(), 2, "not enough memory"),
    "deep input": (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
    "a file": (FileNotFoundError(errno.ENOENT, "No such file", "a\x1b"), 2, r"Error: a\x1b: No such file"),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device", "a"), 2, "a: No space left on device"),
    "a broken pipe": (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "Broken pipe"),
    "text": (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), 2, "this is a fault of hnexport"),
    "a fault": (TypeError("x" * 10_000), 2, "this is a fault of hnexport, please report it"),
    "an assertion": (AssertionError(), 2, "AssertionError"),
    "a panic": (PanicException("index out of range"), 2, "this is a fault of hnexport"),
    "a group": (ExceptionGroup("many", [ValueError("one")]), 2, "this is a fault of hnexport"),
}


@pytest.mark.parametrize(("end", "code", "message"), ENDS.values(), ids=ENDS.keys())
def test_whatever_ends_a_command_has_its_code_and_no_traceback(
    end: Any, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        if end is not None:
            raise end

    assert exit_code(command) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert len(shown.err) < 4000


def test_with_verbose_a_fault_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> Never:
        raise TypeError("here")

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    try:
        assert exit_code(command) == 2
    finally:
        root.setLevel(level)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


FOLDER = Path(hnexport.cli.__file__).parent
PRINTS = {"output.py", "tables.py", "progress.py"}  # through which everything else prints


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_nothing_prints_but_through_one_place(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    forbidden = {"print", "click.echo", "click.secho", "click.style", "sys.stdout.write", "sys.stderr.write"}
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    if path.name not in PRINTS:
        assert not called & forbidden
        assert "rich" not in imported
        assert not (imported & {"traceback"} and path.name != "faults.py")


def test_no_command_has_an_exit_code_of_its_own() -> None:
    for name in COMMANDS:
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "exit", "ctx.exit"):
                assert all("exit_codes." in ast.unparse(argument) for argument in node.args), name
