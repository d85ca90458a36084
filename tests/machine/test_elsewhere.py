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

pytestmark = pytest.mark.thorough  # long: whole builds on three pretended systems

ELSEWHERE = Path(__file__).parent.parent / "support" / "elsewhere"
PACKAGE = Path(hnexport.__file__).parent
VERIFY = ["verify", "bundle", "--batch-sizes", "1"]
Built = tuple[str, Path, dict[str, tuple[int, str]]]
SYSTEMS = ("linux", "win32")
here = pytest.mark.parametrize("built", ["linux"], indirect=True)  # a process of its own pretends nothing

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

# Each line of standard input is a user and a command, which runs in a fork; what it printed comes between two lines.
COMMANDS = """
import json, os, sys
import click, numpy, onnx, onnxruntime, onnxscript, openvino, rich.console, torch, uvicorn
import PIL.Image, torch.export, torch.onnx
import sitecustomize
fork = os.fork
if sys.argv[1] != "linux":
    sitecustomize.pretend(sys.argv[1], sys.argv[2:])
for line in sys.stdin:
    user, *sys.argv[1:] = json.loads(line)
    print("=== ", *sys.argv[1:], flush=True)
    if (child := fork()) == 0:
        os.dup2(1, 2)
        for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = os.path.join(os.getcwd(), user, kind.lower())
        try:
            from hnexport.cli.main import main
            main()
        except SystemExit as error:
            sys.stdout.flush()
            os._exit(error.code)  # libraries that wait for threads of the parent would wait for ever
        os._exit(99)
    print("\\n--- exit code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(ELSEWHERE), str(PACKAGE.parent)])
    own = {
        "PYTHONPATH": path,
        "COLUMNS": "120",
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(folder / "owner" / "cache"),
    }
    return {**os.environ, **own}


def python(folder: Path, *arguments: object, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        input=given,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=400,
    )


def run(folder: Path, system: str, *commands: list[str]) -> list[tuple[int, str]]:
    """The exit code and the output of each command, after its user, one after the other in one process."""
    given = "".join(json.dumps(command) + "\n" for command in commands)
    done = python(folder, "-c", COMMANDS, system, *names(), given=given)
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
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A system, a folder with a bundle that was built there, and what became of each command."""
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "images.npy", np.zeros((3, 3, 32, 32), np.float32))
    commands = {
        "build": [
            "build",
            "--network",
            "wrn-10-1",
            "--members",
            "2",
            "--out",
            "bundle",
            "--formats",
            "onnx,torchscript",
        ],
        "inspect": ["inspect", "bundle"],
        "predict": ["predict", "bundle", "images.npy"],
        "verify": VERIFY,
        "doctor": ["doctor"],
        "score": ["predict", "bundle", "images.npy", "--out", "answers.parquet"],
    }
    given = {name: ["owner", *command] for name, command in commands.items()}
    given |= {f"{name} --help": ["owner", name, "--help"] for name in COMMAND_NAMES}
    given |= {"of a stranger": ["stranger", *VERIFY], "trusted": ["stranger", *VERIFY, "--trust"]}
    return request.param, folder, dict(zip(given, run(folder, request.param, *given.values()), strict=True))


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    code = IMPORT_ALL.replace("TAKEN", repr(("resource", "fcntl")))
    done = python(tmp_path, "-c", code, *names())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imported")


def test_a_bundle_is_built_loaded_and_verified(built: Built) -> None:
    system, folder, found = built
    expected = dict.fromkeys(found, 0)
    if system == "linux":  # without locks, two processes might write one answer
        expected["score"] = 2
        assert "lies where files cannot be locked" in " ".join(found["score"][1].split())
    expected["of a stranger"] = 2
    assert {name: code for name, (code, _) in found.items()} == expected, found
    assert "logical CPUs" in found["doctor"][1]
    assert not list(folder.glob(".hnexport-*"))
    for file in (folder / "bundle").rglob("*"):
        if file.suffix in (".json", ".md", ".html", ".txt"):
            assert b"\r" not in file.read_bytes(), file


def test_a_strangers_program_is_not_run_and_the_reason_is_said(built: Built) -> None:
    system, _, found = built
    said = " ".join(found["of a stranger"][1].split())
    assert "this system cannot confine it" in said
    assert ("what a process takes could not be told" if system == "linux" else f"{system} has neither Landlock") in said


def test_every_command_shows_its_help(built: Built) -> None:
    _, _, found = built
    assert all("Usage:" in found[f"{name} --help"][1] for name in COMMAND_NAMES)


@here
def test_a_bundle_is_timed(built: Built) -> None:
    _, folder, _ = built
    words = ["bench", "bundle", "--batch-sizes", "1", "--seconds", "0.1", "--json"]
    done = python(folder, "-m", "hnexport", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["environment"]["processor"]
    assert all(contender["peak_bytes"] == 0 for contender in report["contenders"])  # nothing here tells it


@here
def test_a_bundle_is_served(built: Built) -> None:
    _, folder, _ = built
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
