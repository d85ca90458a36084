"""Commands as processes: whatever becomes of standard output, the exit code says what it means."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared import Built
from thorough import first

COMMANDS = {
    "help": ["--help"],
    "a command's help": ["build", "--help"],
    "version": ["--version"],
    "inspect": ["inspect", "BUNDLE"],
    "inspect as JSON": ["inspect", "BUNDLE", "--json"],
}
every_command = pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS.keys())


Shell = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def shell(built: Built, tmp_path: Path) -> Shell:
    """Run `hnexport ARGS` and a redirection in a shell."""

    def run(
        arguments: tuple[object, ...], redirection: str = "", **environment: Any
    ) -> subprocess.CompletedProcess[bytes]:
        words = [str(built.path) if word == "BUNDLE" else word for word in arguments]
        command = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, "-m", "hnexport", *words]
        variables = {**os.environ, "COLUMNS": "80", **environment}
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, check=False, timeout=120)
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr
        return done

    return run


@pytest.mark.each_once
@every_command
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_full_or_closed_standard_output_is_no_answer(shell: Shell, arguments: list[str], unbuffered: str) -> None:
    for redirection, reason in ((">/dev/full", b"No space left on device"), (">&-", b"it is closed")):
        done = shell(arguments, redirection, PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 2, done.stderr
        assert b"standard output cannot be written: " + reason in done.stderr


@every_command
def test_a_reader_that_has_gone_is_no_difference(shell: Shell, arguments: list[str]) -> None:
    done = shell(arguments, "| true; exit ${PIPESTATUS[0]}", PYTHONUNBUFFERED="1")
    assert done.returncode == 141, done.stderr
    assert done.stderr == b""


@pytest.mark.each_once
@every_command
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&-"])
def test_standard_error_and_input_change_no_answer(shell: Shell, arguments: list[str], redirection: str) -> None:
    done = shell(arguments, redirection)
    assert done.returncode == 0
    assert done.stdout == shell(arguments).stdout


def test_a_message_that_cannot_be_written_changes_no_code(shell: Shell) -> None:
    for redirection in ("2>/dev/full", "2>&-", "2>&- >&- <&-"):
        assert shell(["inspect", "nowhere"], redirection).returncode == 2
        assert shell(["bake"], redirection).returncode == 2


@pytest.mark.each_once
@every_command
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8", "ascii:strict"])
def test_every_encoding_gets_an_answer_that_it_can_show(shell: Shell, arguments: list[str], encoding: str) -> None:
    done = shell(arguments, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding.partition(":")[0])
    if arguments[-1] == "--json":
        assert done.stdout == shell(arguments).stdout
        assert json.loads(text)["manifest"]["source"]["spec"]["members"] == 3
    elif arguments[0] == "inspect" and encoding.startswith("ascii"):
        assert "+---" in text
        assert "| cond_id | int64" in text


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.utf8"])
def test_a_plain_locale_is_enough(shell: Shell, locale: str) -> None:
    for utf8 in ("0", "1"):
        done = shell(["inspect", "BUNDLE"], LC_ALL=locale, PYTHONUTF8=utf8, PYTHONCOERCECLOCALE="0")
        assert done.returncode == 0, done.stderr
        assert b"cond_id" in done.stdout


def test_what_a_bundle_is_called_cannot_steer_the_terminal(shell: Shell, bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    manifest["origin"] = "\x1b]0;title\x07\x1b[2J\u202e[red]x[/red] :warning: \U0001f600\u2028"
    manifest["versions"]["torch"] = "\x9b31m"
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    for encoding in ("utf-8", "ascii"):
        done = shell(["inspect", str(bundle)], PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode(encoding)
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u2028"} & set(text)
        assert r"\x1b]0;title\x07\x1b[2J\u202e[red]x[/red] :warning: " in text
        value = shell(["inspect", str(bundle), "--json"], PYTHONIOENCODING=encoding)
        assert value.stdout.isascii()
        assert b"\x1b" not in value.stdout
        assert json.loads(value.stdout)["manifest"]["origin"] == manifest["origin"]


@pytest.mark.parametrize(
    "arguments",
    first(
        3,
        map(
            pytest.param,
            [
                ["\x1b[2J\u202e"],
                ["inspect", "\x1b[2J\u202e"],
                ["build", "--members", "\x1b[2J\u202e"],
                ["build", "--formats", "\x1b[2J\u202e"],
                ["build", "--\x1b[2J\u202e"],
                ["bench", "--provider", "\x1b[2J\u202e", "x"],
                ["predict", "BUNDLE", "\x1b[2J\u202e.png"],
                ["verify", "BUNDLE", "extra\x1b[2J\u202e"],
                ["inspect", os.fsdecode(b"\x1b[2J\xff\xe2\x80\xae")],
            ],
        ),
    ),
    ids=ascii,
)
def test_what_was_typed_comes_back_clean(shell: Shell, arguments: list[str]) -> None:
    done = shell(arguments)
    assert done.returncode == 2, done.stdout
    assert b"\x1b" not in done.stderr
    assert "\u202e".encode() not in done.stderr
    assert rb"\x1b[2J" in done.stderr.replace(rb"\\", b"\\")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_inspect_fits_the_lines(shell: Shell, width: int) -> None:
    text = shell(["inspect", "BUNDLE"], COLUMNS=str(width)).stdout.decode()
    framed = [line for line in text.splitlines() if line[:1] in tuple("┏┃┡│├└")]
    assert framed
    assert max(map(len, framed)) <= width
    for name in ("golden.safetensors", "model.pt2", "cond_id", "float32"):
        assert name in text
    assert not any("…" in line for line in framed)  # nothing was cut; what was assumed has some of its own


@pytest.mark.thorough  # long: a whole build in an interpreter of its own
def test_a_build_that_cannot_say_so_says_on_standard_error_that_it_published(shell: Shell, tmp_path: Path) -> None:
    small = [
        "build",
        "--network",
        "wrn-10-1",
        "--image",
        "3,8,8",
        "--members",
        "2",
        "--formats",
        "onnx",
        "--out",
        "here",
    ]
    done = shell([*small, "--json"], ">/dev/full")
    assert done.returncode == 2
    assert b"the bundle was verified and published: here" in done.stderr
    assert (tmp_path / "here" / "manifest.json").is_file()
