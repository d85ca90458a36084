"""How much memory is left, on a machine and in a container."""

import ctypes
import os
import platform
import sys
from pathlib import Path

import pytest

from hnexport.machine import memory
from hnexport.machine.control_group import memory_left_bytes

GIB = 2**30


def group(root: Path, limit: int | str, used: int, statistics: str, *, version: int) -> None:
    folder = root if version == 2 else root / "memory"
    folder.mkdir(exist_ok=True)
    names = {2: ("memory.max", "memory.current"), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes")}[version]
    for name, value in zip((*names, "memory.stat"), (limit, used, statistics), strict=True):
        (folder / name).write_text(f"{value}\n", encoding="ascii")


@pytest.mark.parametrize(("version", "key"), [(2, "inactive_file"), (1, "total_inactive_file")])
def test_a_containers_limit_counts_and_droppable_file_pages_are_free(tmp_path: Path, version: int, key: str) -> None:
    group(tmp_path, 4 * GIB, 3 * GIB, f"anon 1\n{key} {GIB}", version=version)
    assert memory_left_bytes(tmp_path) == 2 * GIB


def test_a_container_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    group(tmp_path, GIB, 2 * GIB, "inactive_file 0", version=2)
    assert memory_left_bytes(tmp_path) == 0


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    group(tmp_path, "max", GIB, "inactive_file 0", version=2)
    assert memory_left_bytes(tmp_path) is None
    assert memory_left_bytes(tmp_path / "nothing") is None


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_the_smaller_of_machine_and_container_is_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = memory.available_bytes()
    assert machine is not None
    total = memory._meminfo("MemTotal")
    assert total is not None
    assert 0 < machine <= total
    monkeypatch.setattr(memory, "memory_left_bytes", lambda: 12345)
    assert memory.available_bytes() == 12345
    monkeypatch.setattr(memory, "_meminfo", lambda name: None)
    monkeypatch.setattr(memory, "memory_left_bytes", lambda: None)
    assert memory.available_bytes() is None


def test_what_this_process_holds_is_told_or_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    resident, peak = memory.resident_bytes(), memory.peak_bytes()
    assert resident is not None
    assert peak is not None
    assert 10**6 < resident <= peak
    monkeypatch.setattr(memory, "_words", lambda path: [])
    assert memory.resident_bytes() == memory.peak_bytes()  # by `getrusage`, which knows no other
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.resident_bytes() is None


def test_macos_has_half_of_what_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert memory.available_bytes() == 500 * 4096


def test_windows_without_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", None, raising=False)
    assert memory.available_bytes() is None
    assert memory.resident_bytes() is None
    assert memory.peak_bytes() is None
