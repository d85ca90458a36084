"""The processor: what this process may use of it, by its affinity mask and its control groups."""

import os
from pathlib import Path

import pytest

from hnexport.machine import processor
from hnexport.machine.control_group import cpu_quota, memory_left_bytes
from hnexport.machine.processor import allowed_cores, physical_cores


def group(folder: Path, **files: str | int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_hyperthreads_of_a_core_are_one_core(tmp_path: Path) -> None:
    for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        group(tmp_path / f"cpu{number}" / "topology", thread_siblings_list=siblings)
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
    monkeypatch.setattr(processor, "cpu_quota", lambda: quota)
    monkeypatch.setattr(processor, "physical_cores", lambda mask: 8)
    monkeypatch.setattr(processor, "usable_processors", lambda: 16)
    assert allowed_cores() == expected


def test_this_process_may_use_at_least_one_core() -> None:
    assert 1 <= allowed_cores() <= (os.cpu_count() or 1)
