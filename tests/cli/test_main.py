"""The command group."""

import subprocess
import sys
import time

import pytest

from hnexport import __version__
from hnexport.cli.main import COMMANDS


def test_help_lists_every_command(hnexport):
    done = hnexport("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_answers_in_under_a_second_and_loads_nothing_heavy(command):
    arguments = [*([command] if command else []), "--help"]
    code = (
        "import sys, hnexport.cli.main as m\n"
        f"sys.argv = ['hnexport', *{arguments!r}]\n"
        "try: m.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0, times


def test_the_version_is_the_packages(hnexport):
    assert __version__ in hnexport("--version").stdout


def test_an_unknown_command_is_bad_usage(hnexport):
    done = hnexport("bake")
    assert done.returncode == 2
    assert "No such command 'bake'" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_no_bundle_could_not_be_answered(hnexport, tmp_path, command):
    done = hnexport(command, tmp_path)
    assert done.returncode == 2
    assert "is not a bundle: it has no manifest.json" in done.stderr
    assert "Traceback" not in done.stderr
