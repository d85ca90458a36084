"""The processor: what it is called on every system, and what this process may use of it."""

import io
import os
import platform
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A system without an affinity mask, control groups and `/proc/cpuinfo`."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "nothing")
    monkeypatch.setattr(processor, "cpu_quota", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    processor._sysctl.cache_clear()
    yield monkeypatch
    processor._sysctl.cache_clear()


def answers(said: dict[str, Any]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        if command[-1] not in said:
            raise subprocess.CalledProcessError(1, command)
        return subprocess.CompletedProcess(command, 0, f"{said[command[-1]]}\n".encode())

    return run


APPLE = {"machdep.cpu.brand_string": "Apple M2", "hw.optional.arm.FEAT_DotProd": 1, "hw.optional.arm.FEAT_I8MM": 0}
INTEL = {
    "machdep.cpu.brand_string": "Intel(R) Core(TM) i9",
    "machdep.cpu.features": "FPU SSE4.2",
    "machdep.cpu.leaf7_features": "AVX2 AVX512VNNI",
    "hw.physicalcpu": 4,
}


@pytest.mark.parametrize(
    ("said", "machine", "products", "cores"),
    [(APPLE, "arm64", ("asimddp",), 8), (INTEL, "x86_64", ("avx512_vnni",), 4), ({}, "x86_64", None, 8)],
    ids=["Apple", "Intel", "silent"],
)
def test_macos_is_asked_by_sysctl(
    elsewhere: pytest.MonkeyPatch, said: dict[str, Any], machine: str, products: tuple[str, ...] | None, cores: int
) -> None:
    elsewhere.setattr(sys, "platform", "darwin")
    elsewhere.setattr(platform, "machine", lambda: machine)
    elsewhere.setattr(platform, "processor", lambda: "")
    elsewhere.setattr(subprocess, "run", answers(said))
    assert processor.processor_name() == said.get("machdep.cpu.brand_string", machine)
    assert processor.integer_products() == products
    assert processor.allowed_cores() == cores
    assert machine in processor.processor_identity()


def test_windows_is_asked_by_its_registry(elsewhere: pytest.MonkeyPatch) -> None:
    registry: Any = types.ModuleType("winreg")
    registry.HKEY_LOCAL_MACHINE = 0
    registry.OpenKey = lambda root, path: io.StringIO(path)
    registry.QueryValueEx = lambda key, name: (" Some Processor @ 3 GHz ", 1)
    elsewhere.setitem(sys.modules, "winreg", registry)
    elsewhere.setattr(sys, "platform", "win32")
    assert processor.processor_name() == "Some Processor @ 3 GHz"
    assert processor.integer_products() is None
    assert processor.allowed_cores() == processor.usable_processors() == 8
    registry.OpenKey = lambda root, path: (_ for _ in ()).throw(OSError)
    elsewhere.setattr(platform, "processor", lambda: "AMD64 Family 25")
    assert processor.processor_name() == "AMD64 Family 25"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_linux_says_it_in_cpuinfo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some Processor\nflags\t\t: fpu avx_vnni\n\n"
        "processor\t: 1\nmodel name\t: Another\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert processor.processor_name() == "Some Processor"
    assert processor.integer_products() == ("avx_vnni",)
    assert processor.processor_identity() == [
        "x86_64",
        "model\t\t: 17",
        "model name\t: Some Processor",
        "flags\t\t: fpu avx_vnni",
    ]


def test_an_affinity_mask_bounds_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5}, raising=False)
    assert processor.usable_processors() == 2
    monkeypatch.setattr(os, "process_cpu_count", lambda: 1, raising=False)  # from Python 3.13 on
    assert processor.usable_processors() == 1
