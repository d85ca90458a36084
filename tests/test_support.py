"""What the tests stand on: forked commands, bundles that are built once, and a judge of mutants that sees."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Never

import mutators
import pytest
import torch
from fixture_types import MakeSpec, MakeTensors
from fuzzing import Command, Mutant, faults
from shared import Built, build_once
from thorough import first
from torch.onnx._internal.exporter._registration import ONNXRegistry
from zygote import Limits, Zygote

from hnexport.networks.wide_resnet.checkpoints import Checkpoint

BUNDLE = Path(__file__).parent / "data" / "bundle-v1"


COMMANDS = [("--version",), ("inspect", BUNDLE), ("inspect", "/nowhere"), ("bake",), ("predict", BUNDLE, "absent.png")]


@pytest.mark.parametrize(
    "arguments",
    first(2, map(pytest.param, COMMANDS)),
    ids=lambda arguments: " ".join(Path(word).name for word in map(str, arguments)),
)
def test_a_forked_command_is_what_a_fresh_interpreter_gives(
    zygote: Zygote, tmp_path: Path, arguments: tuple[Any, ...]
) -> None:
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable, "-m", "hnexport", *map(str, arguments)]
    fresh = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    forked = zygote.run(arguments, cwd=tmp_path, env=environment)
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


def test_a_forked_process_has_its_own_folder_environment_and_arguments(zygote: Zygote, tmp_path: Path) -> None:
    code = "import os, sys, tempfile; print(os.getcwd(), dict(os.environ), sys.argv[1:], tempfile.gettempdir())"
    done = zygote.run(["a", 1], cwd=tmp_path, env={"TMPDIR": str(tmp_path)}, code=code)
    assert done.stdout.split() == [str(tmp_path), "{'TMPDIR':", f"'{tmp_path}'}}", "['a',", "'1']", str(tmp_path)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('words')", 1),
        ("raise SystemExit", 0),
        ("1 / 0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -2),
        ("import os; os.abort()", -6),
    ],
)
def test_a_forked_process_ends_as_an_interpreter_does(zygote: Zygote, tmp_path: Path, code: str, expected: int) -> None:
    assert zygote.run([], cwd=tmp_path, env=os.environ, code=code).returncode == expected


def test_what_is_raised_while_a_forked_process_runs_ends_it(zygote: Zygote, tmp_path: Path) -> None:
    seen = []

    def give_up(pid: int) -> Never:
        seen.append(pid)
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        zygote.run([], cwd=tmp_path, env=os.environ, code="import time; time.sleep(1000)", meanwhile=give_up)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)
    assert zygote.run([], cwd=tmp_path, env=os.environ, code="raise SystemExit(3)").returncode == 3


def test_a_forked_process_may_be_told_how_large_a_file_may_be(zygote: Zygote, tmp_path: Path) -> None:
    code = "import os; file = os.open('file', os.O_CREAT | os.O_WRONLY); print(os.write(file, bytes(2000)))"
    code += "; os.write(file, b'more')"
    done = zygote.run([], cwd=tmp_path, env=os.environ, code=code, limits=Limits(file_bytes=1000))
    assert (done.returncode, done.stdout) == (1, "1000\n")
    assert "File too large" in done.stderr
    assert (tmp_path / "file").stat().st_size == 1000


@pytest.mark.thorough
def test_a_bundle_is_built_once_for_what_is_the_same(
    make_spec: MakeSpec, make_tensors: MakeTensors, built: Built
) -> None:
    spec = make_spec()
    tensors = make_tensors(spec)
    same = build_once(Checkpoint(spec=spec, tensors=tensors, origin="a test"))
    before = (same.path / "manifest.json").stat().st_mtime_ns
    assert build_once(Checkpoint(spec=spec, tensors=dict(tensors), origin="a test")).path == same.path == built.path
    assert (same.path / "manifest.json").stat().st_mtime_ns == before
    name = next(iter(tensors))
    changed = {**tensors, name: tensors[name] + 1e-3}
    assert build_once(Checkpoint(spec=spec, tensors=changed, origin="a test")).path != same.path


def test_the_exporters_table_is_made_once_and_what_one_export_adds_is_its_own() -> None:
    before, target = ONNXRegistry().from_torchlib(opset_version=18), torch.ops.aten.relu.default
    before.register_op(target, lambda x: x)
    after = ONNXRegistry().from_torchlib(opset_version=18)
    assert [found.is_custom for found in before.get_decomps(target)] == [True, False]
    assert [found.is_custom for found in after.get_decomps(target)] == [False]
    assert after.get_decomps(target)[0] is before.get_decomps(target)[1]
    assert (after.opset_version, before.functions.keys()) == (18, after.functions.keys())


SEEN = {
    "a traceback": ("raise ValueError('x')", "a traceback: ValueError: x"),
    "exit code 1": ("raise SystemExit(1)", "exit code 1"),
    "a signal": ("import os; os.abort()", "exit code -6"),
    "CPU time": ("while True: pass", "hangs"),
    "memory": ("x = bytearray(1_300_000_000); x[::4096] = bytes(len(x[::4096]))", "memory: 1."),
    "a file elsewhere": ("open('/tmp/hnexport-nowhere/x', 'w')", "did what no reader does: open"),
    "a folder removed": ("import os; os.rmdir('/tmp/hnexport-nowhere')", "did what no reader does: os.rmdir"),
    "a program": ("import os; os.system('true')", "did what no reader does: os.system"),
    "a process": ("import subprocess; subprocess.run(['true'])", "did what no reader does: subprocess.Popen"),
    "a connection": ("import socket; socket.socket().connect(('127.0.0.1', 9))", "did what no reader does: socket"),
    "planted code": ("open('canary', 'w')", "ran code that the mutant brought"),
}


@pytest.mark.parametrize(("code", "expected"), SEEN.values(), ids=SEEN)
def test_what_no_reader_may_do_is_seen(zygote: Zygote, tmp_path: Path, code: str, expected: str) -> None:
    found = list(
        faults(Command(arguments=(), code=code), zygote, tmp_path, cpu_seconds=1 if expected == "hangs" else 10)
    )
    assert any(item.startswith(expected) for item in found), found


def test_what_a_reader_may_do_is_no_fault(zygote: Zygote, tmp_path: Path) -> None:
    code = "open('a', 'w').write(open('/etc/passwd').read()); raise SystemExit(2)"
    assert list(faults(Command(arguments=(), code=code), zygote, tmp_path)) == []


def test_planted_code_would_run_where_a_file_is_unpickled_without_care(zygote: Zygote, tmp_path: Path) -> None:
    for seed in range(4):
        mutators.plant_code(Random(seed), tmp_path / "planted.pt")
        code = "import torch; torch.load('planted.pt', weights_only=False)"
        zygote.run([], cwd=tmp_path, env=os.environ, code=code)
        if (tmp_path / mutators.CANARY).exists():
            return
    raise AssertionError("no planted file ran its code")


@pytest.mark.parametrize("mutate", [mutators.mutate_manifest, mutators.mutate_bundle], ids=lambda item: item.__name__)
def test_a_mutant_is_the_same_each_time_and_unlike_the_original(
    tmp_path: Path, mutate: Callable[[Any, Any], Any]
) -> None:
    original = {path.name: path.read_bytes() for path in BUNDLE.iterdir()}
    changed = 0
    for number in range(20):
        found = []
        for attempt in ("one", "two"):
            folder = mutators.copy_to(BUNDLE, tmp_path / f"{number}-{attempt}")
            did = mutate(Mutant(kind="bundle", seed=1, number=number).random, folder)
            found.append((did, {path.name: path.read_bytes() for path in folder.iterdir()}))
        assert found[0] == found[1], found[0][0]
        changed += found[0][1] != original
    assert changed >= 18
