"""What works where Linux's own is missing: no `sched_getaffinity`, no `resource`, no `fcntl`, no `/proc`, no `/sys`.

Commands run in processes that start with `support/elsewhere/sitecustomize.py`; some of them are told besides that they
are on Windows (`test_processor.py` has macOS). What cannot be tried here is what those systems answer themselves.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hnexport
from hnexport.cli.main import COMMANDS as COMMAND_NAMES

ELSEWHERE = Path(__file__).parent.parent / "support" / "elsewhere"
PACKAGE = Path(hnexport.__file__).parent
SYSTEMS = ("linux", "win32")

IMPORT_ALL = """
import importlib, os, sys, pathlib
assert not hasattr(os, "sched_getaffinity")
for module in TAKEN:
    try:
        importlib.import_module(module)
    except ImportError:
        continue
    sys.exit(f"{module} is there")
assert not os.path.exists("/proc/cpuinfo") and not pathlib.Path("/sys").exists()
for name in sys.argv[1:]:
    importlib.import_module(name)
assert "resource" not in sys.modules and "fcntl" not in sys.modules
print("imported", len(sys.argv) - 1)
"""

# Each line of standard input is a command, which runs in a fork; what it printed comes between two lines.
COMMANDS = """
import json, os, sys
import click, numpy, onnx, onnxruntime, onnxscript, openvino, rich.console, torch, uvicorn
import PIL.Image, torch.export, torch.onnx
import sitecustomize
fork = os.fork
if sys.argv[1] != "linux":
    sitecustomize.pretend(sys.argv[1], sys.argv[2:])
for line in sys.stdin:
    sys.argv[1:] = json.loads(line)
    print("=== ", *sys.argv[1:], flush=True)
    if (child := fork()) == 0:
        os.dup2(1, 2)
        try:
            from hnexport.cli.main import main
            main()
        except SystemExit as error:
            sys.stdout.flush()
            os._exit(error.code)  # libraries that wait for threads of the parent would wait for ever
        os._exit(99)
    print("\\n--- exit code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def environment(folder: Path, user: str = "owner") -> dict[str, str]:
    path = os.pathsep.join([str(ELSEWHERE), str(PACKAGE.parent)])
    homes = {f"XDG_{kind}_HOME": str(folder / user / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    return {**os.environ, **homes, "PYTHONPATH": path, "COLUMNS": "120", "OMP_NUM_THREADS": "1"}


def python(
    folder: Path, *arguments: object, given: str = "", user: str = "owner"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        input=given,
        cwd=folder,
        env=environment(folder, user),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=240,
    )


def run(folder: Path, system: str, *commands: list[object], user: str = "owner") -> list[tuple[int, str]]:
    """The exit code and the output of each command, one after the other in one process."""
    given = "".join(json.dumps([str(word) for word in command]) + "\n" for command in commands)
    done = python(folder, "-c", COMMANDS, system, *names(), given=given, user=user)
    found = re.findall(r"^=== .*?\n(.*?)^--- exit code (\S+)\n", done.stdout, re.DOTALL | re.MULTILINE)
    assert len(found) == len(commands), done.stdout + done.stderr
    return [(int(code), text) for text, code in found]


def names() -> list[str]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = (PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in found if name not in ("hnexport.__main__", "hnexport.deploy.triton.python_model")]


@pytest.fixture(scope="module", params=SYSTEMS)
def built(request, tmp_path_factory) -> tuple[str, Path, dict[str, tuple[int, str]]]:
    """A system, a folder with a bundle that was built there, and what became of each command."""
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "images.npy", np.zeros((3, 3, 32, 32), np.float32))
    build = ["build", "--network", "wrn-10-1", "--members", 2, "--out", "bundle"]
    commands = {
        "build": [*build, "--formats", "onnx,torchscript"],
        "inspect": ["inspect", "bundle"],
        "predict": ["predict", "bundle", "images.npy"],
        "verify": ["verify", "bundle", "--batch-sizes", "1"],
        "doctor": ["doctor"],
        "score": ["predict", "bundle", "images.npy", "--out", "answers.parquet"],
    }
    return request.param, folder, dict(zip(commands, run(folder, request.param, *commands.values()), strict=True))


def test_every_module_can_be_imported(tmp_path) -> None:
    code = IMPORT_ALL.replace("TAKEN", repr(("resource", "fcntl")))
    done = python(tmp_path, "-c", code, *names())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imported")


def test_a_bundle_is_built_loaded_and_verified(built) -> None:
    system, folder, found = built
    expected = dict.fromkeys(found, 0)
    if system == "linux":  # without locks, two processes might write one answer
        expected["score"] = 2
        assert "lies where files cannot be locked" in " ".join(found["score"][1].split())
    assert {name: code for name, (code, _) in found.items()} == expected, found
    assert "logical CPUs" in found["doctor"][1]
    assert not list(folder.glob(".hnexport-*"))
    for file in (folder / "bundle").rglob("*"):
        if file.suffix in (".json", ".md", ".html", ".txt"):
            assert b"\r" not in file.read_bytes(), file


def test_a_strangers_program_is_not_run_and_the_reason_is_said(built) -> None:
    system, folder, _ = built
    verify = ["verify", "bundle", "--batch-sizes", "1"]
    (code, said), (trusted, _) = run(folder, system, verify, [*verify, "--trust"], user="stranger")
    said = " ".join(said.split())
    assert code != 0
    assert "this system cannot confine it" in said
    why = "what a process takes could not be told" if system == "linux" else f"{system} has neither Landlock nor"
    assert why in said
    assert trusted == 0


def test_every_command_shows_its_help(tmp_path) -> None:
    for code, said in run(tmp_path, "win32", *([name, "--help"] for name in COMMAND_NAMES)):
        assert code == 0
        assert "Usage:" in said


def test_a_bundle_is_timed(built) -> None:
    system, folder, _ = built
    if system != "linux":
        pytest.skip("its worker is a process of its own, which pretends nothing")
    ((code, said),) = run(folder, system, ["bench", "bundle", "--batch-sizes", "1", "--seconds", "0.1", "--json"])
    assert code == 0, said
    report = json.loads(said[: said.rindex("}") + 1])
    assert report["environment"]["processor"]
    assert all(contender["peak_bytes"] == 0 for contender in report["contenders"])  # nothing here tells it


def test_a_bundle_is_served(built) -> None:
    system, folder, _ = built
    if system != "linux":
        pytest.skip("a process of its own pretends nothing")
    process = subprocess.Popen(
        [sys.executable, "-m", "hnexport", "serve", "bundle", "--port", "0", "--drain", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment(folder),
    )
    try:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        assert first.startswith("http://"), first + second
        assert second.startswith("ready: ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
