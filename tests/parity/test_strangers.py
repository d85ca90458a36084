"""A stranger's programs run confined or not at all: nothing of this user's is written, read out or ended."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import edit_manifest, without_claims
from fixture_types import MakeSpec, MakeTensors
from strangers import by_expression, by_operator, by_pickle, by_sample_inputs, by_torchscript, writes
from thorough import only

from hnexport.bench.run import BenchOptions, bench
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format, read_identified
from hnexport.confine.trust import is_remembered, remember
from hnexport.errors import HnexportError, NotRunError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.parity import Verdict, VerifyOptions, confined, verify, verify_file
from hnexport.parity.locate import locate
from hnexport.parity.results import ParityReport
from hnexport.runtime import load


@pytest.fixture(autouse=True)
def _nobody_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def verified(bundle: Path, *artifacts: object, **options: bool) -> ParityReport:
    return verify(bundle, VerifyOptions(artifacts=artifacts, provider="cpu", **options))


ATTEMPTS = """
import os, signal, socket, ctypes
held, canary = {held!r}, {canary!r}
libc = ctypes.CDLL(None)
def fork():
    if os.fork() == 0: open(canary, "w")
for attempt in (
    lambda: open(canary, "w"), lambda: os.mkdir(canary), lambda: os.symlink("/", canary), lambda: os.link(held, canary),
    lambda: os.mkfifo(canary), lambda: os.mknod(canary), lambda: os.system("touch " + canary), fork,
    lambda: os.posix_spawn("/bin/touch", ["touch", canary], {{}}), lambda: os.execv("/bin/touch", ["touch", canary]),
    lambda: os.kill(os.getppid(), signal.SIGKILL), lambda: signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9),
    lambda: libc.syscall(234, os.getppid(), os.getppid(), 9), lambda: libc.ptrace(16, os.getppid(), 0, 0),
    lambda: os.chmod(held, 0o777), lambda: os.chown(held, 1, 1), lambda: os.utime(held, (0, 0)),
    lambda: os.setxattr(held, "user.x", b"x"), lambda: os.truncate(held, 1),
    lambda: os.open(held, os.O_RDONLY | os.O_TRUNC), lambda: os.unlink(held), lambda: os.rename(held, canary),
    lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19), lambda: os.setsid(), lambda: os.memfd_create("x"),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_DATA, (2**50, 2**50)),
    lambda: open("/proc/%d/environ" % os.getppid(), "rb").read(), lambda: open(held).read(),
    lambda: os.listdir(os.path.dirname(held)),
):
    try: found = attempt()
    except (OSError, ValueError): continue  # resource gives a ValueError
    if found in (-1, 127 << 8): continue  # by ctypes, and by os.system
    raise SystemError(f"this could be done: {{attempt.__code__.co_names}} {{found!r}}")
"""


def test_a_program_can_do_nothing_but_compute(copied: Callable[[str], Path], canary: Path) -> None:
    held = canary.parent / "held"
    held.write_text("a secret")
    held.chmod(0o640)
    before = held.stat()
    bundle = copied("hypernet")
    by_expression(bundle, ATTEMPTS.format(held=str(held), canary=str(canary)))
    report = verified(bundle, "pt2")
    assert report.verdict is Verdict.SAME, (report.refused, report.artifacts)
    after = held.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, before.st_size)
    assert held.read_text() == "a secret"
    assert not os.path.lexists(canary)


WAYS = {
    "sample inputs": lambda bundle, canary: by_sample_inputs(bundle, f"open({str(canary)!r}, 'w')"),
    "weights": lambda bundle, canary: by_pickle(bundle, "model.pt2!data/weights/", f"open({str(canary)!r}, 'w')"),
    "constants": lambda bundle, canary: by_pickle(bundle, "model.pt2!data/constants/", f"open({str(canary)!r}, 'w')"),
    "expression": lambda bundle, canary: by_expression(bundle, f"open({str(canary)!r}, 'w')"),
    "operator": lambda bundle, canary: by_operator(bundle, f"touch {canary}"),
    "TorchScript pickle": lambda bundle, canary: by_pickle(bundle, "model.pt!data.pkl", f"open({str(canary)!r}, 'w')"),
    "TorchScript": lambda bundle, canary: by_torchscript(bundle, writes(canary)),
}


@pytest.mark.parametrize("way", only(WAYS, "operator", "TorchScript"))
def test_no_way_into_a_program_leaves_anything_behind(copied: Callable[[str], Path], canary: Path, way: str) -> None:
    bundle = copied("hypernet")
    WAYS[way](bundle, canary)
    verified(bundle, "torchscript" if way.startswith("TorchScript") else "pt2")
    assert not os.path.lexists(canary)


def test_the_ways_work_where_the_bundle_is_trusted(copied: Callable[[str], Path], canary: Path) -> None:
    bundle = copied("hypernet")
    by_expression(bundle, f"open({str(canary)!r}, 'w').close()")
    verified(bundle, "pt2", trust=True)
    assert os.path.lexists(canary)


def test_locate_runs_a_strangers_program_confined(copied: Callable[[str], Path], canary: Path) -> None:
    bundle = copied("hypernet")
    by_torchscript(bundle, writes(canary))
    with pytest.raises(NotRunError, match=r"model.pt is not trusted .* give trust=True"):
        locate(bundle, "torchscript")
    assert not os.path.lexists(canary)


@pytest.mark.thorough
def test_a_trace_with_logits_of_another_shape_departs(copied: Callable[[str], Path]) -> None:
    bundle = copied("hypernet")
    by_expression(bundle, NO_LOGITS)
    assert locate(bundle, "pt2").first is not None


NO_LOGITS = """
import numpy
from hnexport.parity.confined_child import Service
held = Service.answer
counts = {"named": 0, "calls": [], "loose": 0, "values": 0, "outputs": 1}
nothing = counts, [("logits", numpy.zeros(0, numpy.float32))]
Service.answer = lambda self, asked: nothing if asked.meta["question"] == "trace" else held(self, asked)
"""


def test_bench_runs_no_program(copied: Callable[[str], Path], canary: Path) -> None:
    bundle = copied("hypernet")
    by_expression(bundle, f"open({str(canary)!r}, 'w')")
    by_torchscript(bundle, writes(canary))
    edit_manifest(bundle, lambda value: value.update(formats=["pt2", "torchscript"]))
    options = BenchOptions(batch_sizes=(1,), contenders=("torch",), seconds=0.0, least_rounds=1)
    with contextlib.suppress(HnexportError):
        assert "torch" in bench(bundle, options).not_run
    assert not os.path.lexists(canary)


def test_load_and_predict_run_no_program(copied: Callable[[str], Path], canary: Path) -> None:
    bundle = copied("hypernet")
    by_expression(bundle, f"open({str(canary)!r}, 'w')")
    by_torchscript(bundle, writes(canary))
    load(bundle, provider="cpu").predict_mean(np.zeros((1, 3, 8, 8), np.float32))
    assert not os.path.lexists(canary)


@pytest.mark.thorough
def test_the_tensors_of_a_strangers_bundle_without_onnx_come_from_confinement(
    copied: Callable[[str], Path], canary: Path
) -> None:
    bundle = copied("hypernet")
    by_expression(bundle, f"try: open({str(canary)!r}, 'w')\nexcept OSError: pass")
    edit_manifest(bundle, only_pt2)
    without_claims(bundle)
    assert verified(bundle, "pt2").verdict is Verdict.SAME
    assert not os.path.lexists(canary)


def only_pt2(value: dict[str, Any]) -> None:
    value.update(formats=["pt2"], onnx=None)
    for table in ("files", "parity"):
        kept = {"model.pt2", "pt2", "golden.safetensors", "parity.json", "report.html"}
        value[table] = {name: held for name, held in value[table].items() if name in kept}


# Neither by a mapping that grows, nor by enlarging the stack that is there, nor by addresses that are only read.
STACKS = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
size, private = ctypes.c_size_t, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
stack = next(int(line.split("-")[0], 16) for line in open("/proc/self/maps") if "[stack]" in line)
found = [
    libc.mmap(None, size(3 * 2**30), 3, private | 0x100, -1, size(0)),
    libc.mremap(ctypes.c_void_p(stack), size(4096), size(3 * 2**30), 1),
    libc.mmap(None, size(2**40), 1, private, -1, size(0)),
]
raise SystemError("no stack to be had" if set(found) == {2**64 - 1} else f"found {found}")
"""

THREADS = """
import _thread, threading, time
threading.stack_size(32768)
while True: _thread.start_new_thread(time.sleep, (1000,))
"""

TOO_MUCH = {
    "never ends": ("pt2", lambda bundle: by_expression(bundle, "while True: pass"), "still computing"),
    "sleeps": ("pt2", lambda bundle: by_expression(bundle, "import time; time.sleep(1000)"), "did nothing"),
    "stops itself": ("pt2", lambda bundle: by_expression(bundle, "import signal; signal.raise_signal(19)"), "nothing"),
    "takes all memory": ("pt2", lambda bundle: by_expression(bundle, "x = b'x' * 2**33"), "MemoryError"),
    "takes all memory as stacks": ("pt2", lambda bundle: by_expression(bundle, STACKS), "no stack to be had"),
    "starts threads": ("pt2", lambda bundle: by_expression(bundle, THREADS), "threads"),
    "exits": ("pt2", lambda bundle: by_expression(bundle, "import os; os._exit(3)"), "ended with code 3"),
    "answers garbage": (
        "pt2",
        lambda bundle: by_expression(
            bundle,
            "import os\nfor fd in range(3, 64):\n  try: os.write(fd, bytes(8))\n  except OSError: pass",
        ),
        "malformed",
    ),
    "never ends in TorchScript": (
        "torchscript",
        lambda bundle: by_torchscript(bundle, "while True:\n  image = torch.add(image, image)"),
        "still computing",
    ),
    "allocates in TorchScript": (
        "torchscript",
        lambda bundle: by_torchscript(bundle, "image = torch.add(image, torch.sum(torch.ones([4000000000])))"),
        "allocate memory",
    ),
}


@pytest.mark.each_once
@pytest.mark.parametrize("case", only(TOO_MUCH, "sleeps"))
def test_a_program_that_takes_too_much_is_given_up_and_the_question_stays_open(
    copied: Callable[[str], Path], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, plant, why = TOO_MUCH[case]
    if why in ("still computing", "did nothing", "nothing"):  # a shorter time is used up in the same way
        monkeypatch.setattr(confined, "_BASE_SECONDS", 1.0)
        monkeypatch.setattr(confined, "_IDLE_SECONDS", 1.0)
    bundle = copied("hypernet")
    plant(bundle)
    report = verified(bundle, artifact)
    assert report.verdict is Verdict.UNANSWERED
    assert why in report.refused[artifact]


@pytest.mark.thorough
def test_an_honest_bundle_has_the_same_errors_confined_as_in_this_process(pristine: Callable[[str], Path]) -> None:
    names = ("torchscript", "pt2", "torchscript-ensemble")
    here, confined = verified(pristine("hypernet"), *names, trust=True), verified(pristine("hypernet"), *names)
    assert confined.verdict is here.verdict is Verdict.SAME
    assert all(artifact.runtime.endswith("confined") for artifact in confined.artifacts)
    assert not any(artifact.runtime.endswith("confined") for artifact in here.artifacts)
    assert [artifact.comparisons for artifact in confined.artifacts] == [one.comparisons for one in here.artifacts]


@pytest.mark.thorough
def test_locate_finds_nothing_in_an_honest_program_that_is_confined(pristine: Callable[[str], Path]) -> None:
    report = locate(pristine("hypernet"), "torchscript")
    assert report.runtime.endswith("confined")
    assert report.first is None


@pytest.mark.thorough
def test_a_wrong_program_of_a_stranger_is_different(copied: Callable[[str], Path]) -> None:
    bundle = copied("hypernet")
    by_torchscript(bundle, "image = torch.mul(image, 2)")
    assert verified(bundle, "torchscript").verdict is Verdict.DIFFERENT


def test_a_remembered_bundle_runs_in_this_process_and_no_other_file_does(copied: Callable[[str], Path]) -> None:
    bundle = copied("hypernet")
    remember(read_identified(bundle).digest)
    assert not verified(bundle, "torchscript").artifacts[0].runtime.endswith("confined")
    file = bundle.parent / "other.pt"
    file.write_bytes((bundle / "model.pt").read_bytes())
    assert not verify_file(file, bundle, VerifyOptions(provider="cpu")).artifacts[0].runtime.endswith("confined")
    by_torchscript(bundle, "image = torch.add(image, 0)")
    file.write_bytes((bundle / "model.pt").read_bytes())
    assert verify_file(file, bundle, VerifyOptions(provider="cpu")).artifacts[0].runtime.endswith("confined")


@pytest.mark.thorough
def test_a_build_is_remembered(tmp_path: Path, make_spec: MakeSpec, make_tensors: MakeTensors) -> None:
    spec = make_spec()
    checkpoint = Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")
    built = build(checkpoint, tmp_path / "built", options=BuildOptions(formats=(Format.PT2,)))
    assert is_remembered(built.digest)
    assert built.digest == read_identified(built.path).digest


def test_a_build_without_a_cache_is_only_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    remember("sha256:" + "0" * 64)
    assert not is_remembered("sha256:" + "0" * 64)
