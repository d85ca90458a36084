"""Threads: how many an ensemble starts, with one allowed processor, many, and a shared pool."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hnexport.errors import RuntimeInputError
from hnexport.runtime import share_threads, threads
from hnexport.runtime.threads import threads_of_each

COUNT = """
import os, sys
import numpy as np
from hnexport.runtime import load, share_threads
if len(sys.argv) > 3:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
before = len(os.listdir("/proc/self/task"))
options = eval(sys.argv[2])
if options.pop("shared", False):
    share_threads(2)
ensemble = load(sys.argv[1], provider="cpu", **options)
ensemble.predict(np.zeros((2, 3, 8, 8), np.float32), members="all")
print(len(os.listdir("/proc/self/task")) - before)
"""


def extra_threads(bundle: Any, options: dict[Any, Any], *, one: bool = False) -> int:
    command = [sys.executable, "-c", COUNT, str(bundle), repr(options), *(["one"] if one else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return int(done.stdout)


@pytest.mark.parametrize(
    ("cores", "sessions", "each"), [(2, 4, 2), (8, 4, 8), (8, 11, 5), (64, 4, 32), (64, 1000, 1), (1, 50, 1)]
)
def test_all_sessions_together_stay_within_the_bound(
    monkeypatch: pytest.MonkeyPatch, cores: int, sessions: int, each: int
) -> None:
    monkeypatch.setattr(threads, "allowed_cores", lambda: cores)
    assert threads_of_each(sessions) == each
    assert each == 1 or each * sessions <= max(64, 2 * cores)
    assert threads_of_each(sessions, 16) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.parametrize("options", [{}, {"strategy": "generated"}, {"resident_members": 2}], ids=str)
def test_one_allowed_processor_starts_no_thread(shared_bundle: Path, options: dict[str, Any]) -> None:
    assert extra_threads(shared_bundle, options, one=True) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_shared_pool_is_one_pool_for_all_members(shared_bundle: Path) -> None:
    assert extra_threads(shared_bundle, {"shared": True, "strategy": "materialised"}) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_ten_resident_members_on_many_cores_stay_within_the_bound(shared_bundle: Path) -> None:
    code = COUNT.replace("before =", "import hnexport.runtime.threads as p; p.allowed_cores = lambda: 16\nbefore =")
    command = [sys.executable, "-c", code, str(shared_bundle), "{}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 0 < int(done.stdout) <= 64


SHARING = """
import onnxruntime
from hnexport.errors import RuntimeInputError
from hnexport.runtime import share_threads
{before}
for count in {counts}:
    try:
        print(share_threads(count))
    except RuntimeInputError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("before", "counts", "expected"),
    [
        ("", (2, None, 2, 3), ["2", "2", "2", "this process shares 2 threads already"]),
        ("onnxruntime.set_global_thread_pool_sizes(2, 1)", (2,), ["this application has set onnxruntime's global"]),
    ],
    ids=["twice", "the application's own"],
)
def test_a_pool_that_is_there_stays(before: str, counts: tuple[int | None, ...], expected: list[str]) -> None:
    code = SHARING.format(before=before, counts=counts)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines


def test_a_count_that_cannot_be_is_refused() -> None:
    with pytest.raises(RuntimeInputError, match="count must be a whole number from 1"):
        share_threads(0)
    with pytest.raises(RuntimeInputError, match="count must be at most 4096, found 1000000000"):
        share_threads(10**9)
