"""Locks as Windows has them, by a stand-in: it locks a region of a file, at the place where the file is read."""

import json
import os
import sys
import types
from pathlib import Path

import pytest

import hnexport.publishing.locks as locks
from hnexport.publishing import staged_folder


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    told = types.ModuleType("sys")
    told.platform = "win32"  # type: ignore[attr-defined]
    monkeypatch.setattr(locks, "sys", told)
    msvcrt = types.ModuleType("msvcrt")
    msvcrt.LK_NBLCK = 2  # type: ignore[attr-defined]
    msvcrt.locking = lambda handle, mode, count: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    return msvcrt


@pytest.mark.parametrize("held", [False, True])
def test_taking_a_lock_moves_nobodys_place_in_the_file(windows: types.ModuleType, tmp_path: Path, held: bool) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if held:
        windows.locking = refuse  # type: ignore[attr-defined]
    (tmp_path / "file").write_bytes(b"0123456789")
    handle = os.open(tmp_path / "file", os.O_RDWR)
    try:
        assert os.read(handle, 4) == b"0123"
        assert locks.try_lock(handle) is not held
        assert os.read(handle, 99) == b"456789"
    finally:
        os.close(handle)


def test_what_a_dead_writer_left_is_removed(windows: types.ModuleType, tmp_path: Path) -> None:
    """The marker is read before it is locked, and on from there afterwards."""
    left = tmp_path / ".hnexport-0a1b2c-bundle"
    (left / "new").mkdir(parents=True)
    (left / "new" / "half").write_text("written")
    head = {"schema": "hnexport-staging", "itself": [left.name, left.stat().st_ino], "target": "bundle", "new": "new"}
    listed = {"new": [(left / "new").stat().st_ino, ["half"]]}
    (left / "marker").write_text(json.dumps(head) + "\n" + json.dumps(listed) + "\n")
    with staged_folder(tmp_path / "next"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["next"]
