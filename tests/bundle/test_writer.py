"""The target is either whole or as it was before."""

import errno
import os
import subprocess
import sys

import pytest

from hnexport.bundle.writer import check_target, staged_folder
from hnexport.errors import BundleError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_target_appears_when_the_body_is_done(tmp_path):
    target = tmp_path / "bundle"
    with staged_folder(target) as folder:
        (folder / "file").write_text("new")
        assert not target.exists()
    assert names(tmp_path) == ["bundle"]
    assert (target / "file").read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="halfway"), staged_folder(tmp_path / "bundle") as folder:
        (folder / "file").write_text("new")
        raise RuntimeError("halfway")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_what_was_there(tmp_path, error):
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "file").write_text("old")
    with pytest.raises(error), staged_folder(target) as folder:
        (folder / "file").write_text("new")
        raise error
    assert names(tmp_path) == ["bundle"]
    assert (target / "file").read_text() == "old"


def test_what_was_there_is_replaced_whole(tmp_path):
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    with staged_folder(target) as folder:
        (folder / "new").write_text("new")
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["new"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["disk full", "quota"])
def test_a_full_disk_is_a_clear_error(tmp_path, code):
    with pytest.raises(BundleError, match="is full: .*; free some space"), staged_folder(tmp_path / "bundle"):
        raise OSError(code, os.strerror(code))
    assert names(tmp_path) == []


def test_a_killed_builds_folder_is_removed_by_the_next(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    abandoned = tmp_path / f".hnexport-{int(done.stdout)}-abc-bundle"
    abandoned.mkdir()
    (abandoned / "weights.bin").write_text("half")
    running = tmp_path / f".hnexport-{os.getpid()}-abc-other"
    running.mkdir()
    with staged_folder(tmp_path / "bundle"):
        pass
    assert names(tmp_path) == [running.name, "bundle"]


def test_an_existing_target_is_refused_without_force(tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BundleError, match="exists: choose another --out, or give --force"):
        check_target(tmp_path / "bundle", force=False, needed_bytes=0)


def test_force_replaces_only_bundles(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="is not a bundle: --force replaces only bundles"):
        check_target(tmp_path, force=True, needed_bytes=0)
    (tmp_path / "manifest.json").write_text("{}")
    check_target(tmp_path, force=True, needed_bytes=0)


def test_a_disk_that_is_too_small_is_refused_before_the_work(tmp_path):
    with pytest.raises(BundleError, match=r"MB free, the bundle needs about 1000000000 MB"):
        check_target(tmp_path / "bundle", force=False, needed_bytes=10**15)
    assert names(tmp_path) == []


def test_a_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written to"):
        check_target(tmp_path / "file" / "bundle", force=False, needed_bytes=0)
