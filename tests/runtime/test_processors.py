"""Threads: what this process may use, by its affinity mask and its control groups, and what an ensemble starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hnexport.errors import RuntimeInputError
from hnexport.runtime import processors, share_threads
from hnexport.runtime.control_group import cpu_quota, memory_left_bytes
from hnexport.runtime.processors import allowed_cores, physical_cores, threads_of_each

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


def group(folder, **files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def extra_threads(bundle, options, *, one=False):
    command = [sys.executable, "-c", COUNT, str(bundle), repr(options), *(["one"] if one else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return int(done.stdout)


def test_hyperthreads_of_a_core_are_one_core(tmp_path: Path) -> None:
    for processor, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        group(tmp_path / f"cpu{processor}" / "topology", thread_siblings_list=siblings)
    assert physical_cores({0, 1, 2, 3}, tmp_path) == 2
    assert physical_cores({0, 2}, tmp_path) == 1
    assert physical_cores({1, 7, 8}, tmp_path) == 3


@pytest.mark.parametrize(("limit", "quota"), [("150000 100000", 1.5), ("max 100000", None), ("nonsense", None)])
def test_a_quota_of_the_own_group_is_found_version_2(tmp_path: Path, limit: str, quota: float | None) -> None:
    (tmp_path / "membership").write_text("0::/a/b\n")
    group(tmp_path / "root" / "a" / "b", cpu__max=limit)
    assert cpu_quota(tmp_path / "root", tmp_path / "membership") == quota


def test_the_smallest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/a/b\n")
    for folder, limit in (("root/a/b", "400000 100000"), ("root/a", "200000 100000"), ("root/other", "1000 100000")):
        group(tmp_path / folder, cpu__max=limit)
    assert cpu_quota(tmp_path / "root", tmp_path / "membership") == 2


@pytest.mark.parametrize("mounted", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1_counts(tmp_path: Path, mounted: str) -> None:
    (tmp_path / "membership").write_text("4:cpu,cpuacct:/docker/x\n3:memory:/other\n")
    group(tmp_path / "root" / mounted, cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cpu_quota(tmp_path / "root", tmp_path / "membership") is None
    group(tmp_path / "root" / mounted / "docker" / "x", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    assert cpu_quota(tmp_path / "root", tmp_path / "membership") == 3


@pytest.mark.parametrize("path", ["/docker/not-mounted-here", "/../outside"])
def test_in_a_container_the_root_that_is_mounted_is_the_own_group(tmp_path: Path, path: str) -> None:
    (tmp_path / "membership").write_text(f"0::{path}\n")
    group(tmp_path / "root", cpu__max="100000 100000")
    group(tmp_path / "outside", cpu__max="1 100000")
    assert cpu_quota(tmp_path / "root", tmp_path / "membership") == 1


def test_memory_is_that_of_the_own_group_and_of_those_above(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/a\n")
    group(tmp_path / "root" / "a", memory__max=1000, memory__current=400, memory__stat="inactive_file 100")
    assert memory_left_bytes(tmp_path / "root", tmp_path / "membership") == 700
    group(tmp_path / "root", memory__max=500, memory__current=450, memory__stat="inactive_file 0")
    assert memory_left_bytes(tmp_path / "root", tmp_path / "membership") == 50


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (2.5, 2), (0.3, 1), (100.0, 8)])
def test_the_quota_bounds_the_cores(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(processors, "cpu_quota", lambda: quota)
    monkeypatch.setattr(processors, "physical_cores", lambda mask: 8)
    assert allowed_cores() == expected


@pytest.mark.parametrize(
    ("cores", "sessions", "each"), [(2, 4, 2), (8, 4, 8), (8, 11, 5), (64, 4, 32), (64, 1000, 1), (1, 50, 1)]
)
def test_all_sessions_together_stay_within_the_bound(
    monkeypatch: pytest.MonkeyPatch, cores: int, sessions: int, each: int
) -> None:
    monkeypatch.setattr(processors, "allowed_cores", lambda: cores)
    assert threads_of_each(sessions) == each
    assert each == 1 or each * sessions <= max(64, 2 * cores)
    assert threads_of_each(sessions, 16) == 16


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.parametrize("options", [{}, {"strategy": "generated"}, {"resident_members": 2}], ids=str)
def test_one_allowed_processor_starts_no_thread(shared_bundle: Path, options) -> None:
    assert extra_threads(shared_bundle, options, one=True) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_shared_pool_is_one_pool_for_all_members(shared_bundle: Path) -> None:
    assert extra_threads(shared_bundle, {"shared": True, "strategy": "materialised"}) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_ten_resident_members_on_many_cores_stay_within_the_bound(shared_bundle: Path) -> None:
    code = COUNT.replace("before =", "import hnexport.runtime.processors as p; p.allowed_cores = lambda: 16\nbefore =")
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
def test_a_pool_that_is_there_stays(before: str, counts, expected: list[str]) -> None:
    code = SHARING.format(before=before, counts=counts)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines


def test_a_count_that_cannot_be_is_refused() -> None:
    with pytest.raises(RuntimeInputError, match="count must be a whole number from 1"):
        share_threads(0)
    with pytest.raises(RuntimeInputError, match="count must be at most 4096, found 1000000000"):
        share_threads(10**9)


def test_this_process_may_use_at_least_one_core() -> None:
    assert 1 <= allowed_cores() <= (os.cpu_count() or 1)
