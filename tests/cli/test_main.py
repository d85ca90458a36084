"""The command group."""

import subprocess
import sys
from pathlib import Path

import pytest
from fixture_types import Hnexport

from hnexport import __version__
from hnexport.cli.main import COMMANDS


def test_help_lists_every_command(hnexport: Hnexport) -> None:
    done = hnexport("--help", fresh=True)
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_loads_nothing_heavy(command: str | None) -> None:
    """So that it answers at once, on whatever machine."""
    arguments = [*([command] if command else []), "--help"]
    code = (
        "import sys, hnexport.cli.main as m\n"
        f"sys.argv = ['hnexport', *{arguments!r}]\n"
        "try: m.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'rich', 'matplotlib', 'PIL', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert len(sys.modules) < 400, len(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_version_is_the_packages(hnexport: Hnexport) -> None:
    assert __version__ in hnexport("--version", fresh=True).stdout


def test_an_unknown_command_is_bad_usage(hnexport: Hnexport) -> None:
    done = hnexport("bake")
    assert done.returncode == 2
    assert "No such command 'bake'" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_no_bundle_could_not_be_answered(hnexport: Hnexport, tmp_path: Path, command: str) -> None:
    done = hnexport(command, tmp_path)
    assert done.returncode == 2
    assert "is not a bundle: it has no manifest.json" in done.stderr
    assert "Traceback" not in done.stderr
