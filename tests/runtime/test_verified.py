"""Large files are read once; a cache that is damaged, stale or not writable costs time and nothing else."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any, Never

import pytest
from thorough import first

from hnexport.bundle import read_manifest
from hnexport.errors import BundleError
from hnexport.runtime import verified
from hnexport.runtime.cache import cache_folder
from hnexport.runtime.options import Checksums
from hnexport.runtime.verified import verify_files

NAME = "weights.bin"


@pytest.fixture
def large(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle whose weights file counts as large and has not changed for a minute, and the names that were read."""
    monkeypatch.setattr(verified, "LARGE_BYTES", 100_000)
    monkeypatch.setattr(verified, "_SETTLED_NS", -(10**12))
    return own_bundle


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names of the files whose SHA-256 is computed."""
    names, check = [], verified.check_files  # type: ignore[attr-defined] # what a test or a tool reaches for there

    def noted(*args: Any) -> Any:
        names.extend(args[2])
        return check(*args)

    monkeypatch.setattr(verified, "check_files", noted)
    return names


def verify(bundle: Path, checksums: Checksums = Checksums.REMEMBERED, names: tuple[str] | list[Any] = (NAME,)) -> None:
    verify_files(bundle, read_manifest(bundle), names, checksums)


def test_a_large_file_is_read_once_and_then_remembered(large: Path, reads: list[Any]) -> None:
    verify(large)
    verify(large)
    assert reads == [NAME]


def test_small_files_are_read_every_time(large: Path, reads: list[Any]) -> None:
    verify(large, names=["model.onnx"])
    verify(large, names=["model.onnx"])
    assert reads == ["model.onnx"] * 2


def test_always_reads_every_time_and_never_not_at_all(large: Path, reads: list[Any]) -> None:
    verify(large)
    verify(large, Checksums.ALWAYS)
    assert reads == [NAME] * 2
    verify(large, Checksums.NEVER)
    assert reads == [NAME] * 2


def test_a_damaged_file_is_not_remembered_as_whole(large: Path) -> None:
    flip(large / NAME)
    for _ in range(2):
        with pytest.raises(BundleError, match=r"weights.bin is damaged"):
            verify(large)


def test_damage_after_it_was_remembered_is_found(large: Path) -> None:
    verify(large)
    flip(large / NAME)
    with pytest.raises(BundleError, match=r"weights.bin is damaged"):
        verify(large)


def test_damage_that_keeps_size_and_modification_time_is_found(large: Path) -> None:
    verify(large)
    before = (large / NAME).stat()
    flip(large / NAME)
    os.utime(large / NAME, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (large / NAME).stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(BundleError, match=r"weights.bin is damaged"):
        verify(large)


def test_another_file_at_the_same_place_is_read(large: Path, reads: list[Any], tmp_path: Path) -> None:
    verify(large)
    shutil.copy2(large / NAME, tmp_path / "copy")
    (tmp_path / "copy").replace(large / NAME)
    verify(large)
    assert reads == [NAME] * 2


def test_a_file_that_has_just_changed_is_read_again_next_time(
    large: Path, reads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified, "_SETTLED_NS", 3600 * 10**9)
    verify(large)
    verify(large)
    assert reads == [NAME] * 2


CORRUPT = {
    "empty": b"",
    "cut": b"{",
    "a list": b"[1]",
    "no UTF-8": b"\xff\xfe",
    "other keys": b'{"sha256": "0"}',
    "deep": b"[" * 100_000,
    "a number of 5,000 digits": b"9" * 5000,
}


@pytest.mark.parametrize("content", first(3, CORRUPT.values()), ids=CORRUPT)
def test_a_corrupt_entry_is_ignored_and_replaced(large: Path, reads: list[Any], content: bytes) -> None:
    verify(large)
    (entry,) = (cache_folder() / "verified").iterdir()
    entry.write_bytes(content)
    verify(large)
    verify(large)
    assert reads == [NAME] * 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_an_entry_that_is_a_fifo_is_not_waited_for(large: Path, reads: list[Any]) -> None:
    verify(large)
    (entry,) = (cache_folder() / "verified").iterdir()
    entry.unlink()
    os.mkfifo(entry)
    verify(large)
    assert reads == [NAME] * 2


def test_an_entry_about_other_content_is_ignored(large: Path, reads: list[Any]) -> None:
    verify(large)
    (entry,) = (cache_folder() / "verified").iterdir()
    held = json.loads(entry.read_text())
    entry.write_text(json.dumps({**held, "sha256": "0" * 64}))
    verify(large)
    assert reads == [NAME] * 2


def test_a_cache_that_cannot_be_written_is_no_error(
    large: Path, reads: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    verify(large)
    verify(large)
    assert reads == [NAME] * 2


def test_a_user_without_a_home_folder_is_no_error(
    large: Path, reads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Never:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    verify(large)
    assert reads == [NAME]


def test_loads_at_the_same_time_do_not_spoil_each_others_entry(large: Path, reads: list[Any]) -> None:
    start, failures = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        try:
            for _ in range(20):
                verify(large)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.suffix for path in (cache_folder() / "verified").iterdir()] == [".json"]
    count = len(reads)
    verify(large)
    assert len(reads) == count


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        byte = file.read(1)[0]
        file.seek(4096)
        file.write(bytes([byte ^ 1]))
