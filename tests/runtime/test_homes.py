"""Without a home folder, or with a cache that cannot be written: what can work works, the rest says what to set."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Never

import pytest

from hnexport.bundle import read_manifest
from hnexport.errors import CacheError
from hnexport.reading import MissingFileError
from hnexport.runtime import Strategy, load, loading
from hnexport.runtime.cache import CACHE_REMEDY, require_cache, writing_cache
from hnexport.runtime.half import find_half
from hnexport.tune import halve, tune

ANYTHING = ("auto", "materialised", "generated")
# Another user's process: everything is imported before, since that user may not be able to read the installation.
CHILD = """
import json, logging, os, pathlib, sys
import hnexport.runtime.loading as loading, hnexport.tune as tune
bundle, uid, jobs = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
loading.load(bundle, provider="cpu")
if uid:
    os.setgroups([]), os.setgid(uid), os.setuid(uid)
    os.environ.pop("HOME", None), os.environ.pop("XDG_CACHE_HOME", None)
for job in jobs:
    try:
        if job == "tune":
            tune.tune(pathlib.Path(bundle), force=True)
        else:
            loading.load(bundle, provider="cpu", check="none", **job)
        print("worked")
    except Exception as error:
        print(type(error).__name__, error)
"""


def tried(bundle: Path, jobs: list, *, uid: int = 0, **environment: str) -> list[str]:
    command = [sys.executable, "-c", CHILD, str(bundle), str(uid), json.dumps(jobs)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HOME nor an entry in the list of users."""
    import pwd

    def nobody(uid: int) -> Never:
        raise KeyError(uid)

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("strategy", ANYTHING)
def test_without_a_home_every_strategy_that_needs_no_cache_works(shared_bundle: Path, strategy: str) -> None:
    load(shared_bundle, provider="cpu", strategy=strategy, check="all")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_auto_works_where_memory_is_short(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "available_bytes", lambda: 1000)
    assert load(shared_bundle, provider="cpu").strategy is Strategy.GENERATED
    assert "this user has no home folder" in caplog.text


@pytest.mark.usefixtures("homeless")
def test_without_a_home_what_needs_the_cache_says_what_to_set(
    shared_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = rf"there is no cache: this user has no home folder \(.*\); {re.escape(CACHE_REMEDY)}"
    for needs in (
        lambda: load(shared_bundle, provider="cpu", strategy="folded"),
        lambda: load(shared_bundle, provider="cpu", strategy="folded", tune=True),
        lambda: tune(shared_bundle),
        lambda: halve(shared_bundle),
    ):
        with pytest.raises(CacheError, match=expected):
            needs()
    load(shared_bundle, provider="cpu", tune=True)
    assert "is not tuned: there is no cache" in caplog.text


@pytest.mark.parametrize("kind", ["file", "dangling symlink"])
def test_a_cache_path_that_is_no_folder(
    shared_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "file":
        (tmp_path / "file").write_text("")
    else:
        (tmp_path / "file").symlink_to(tmp_path / "nowhere" / "either")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for strategy in ANYTHING:
        load(shared_bundle, provider="cpu", strategy=strategy, tune=strategy == "auto")
    with pytest.raises(CacheError, match=r"file/hnexport cannot be written: .*; set XDG_CACHE_HOME"):
        tune(shared_bundle)


def test_a_cache_below_a_folder_that_cannot_be_made(
    shared_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As below `/nonexistent`, the home of nobody: what cannot be made is a folder above the cache."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "link/cache"))
    for strategy in ANYTHING:
        load(shared_bundle, provider="cpu", strategy=strategy, tune=strategy == "auto")
    with pytest.raises(CacheError, match=r"link/cache/hnexport cannot be written: .*; set XDG_CACHE_HOME"):
        tune(shared_bundle)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "what the cache holds is not used, this user may not read it"),
        (MissingFileError(Path("below a file"), "is missing"), None),
        (OSError(5, "Input/output error"), "a damaged entry of the cache is not used"),
    ],
    ids=["unreadable", "below a file", "damaged"],
)
def test_an_entry_that_cannot_be_read_is_called_what_it_is(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Any, said: str | None
) -> None:
    def fail(entry: object) -> Never:
        raise error

    monkeypatch.setattr("hnexport.runtime.entries.CacheEntry._record", fail)
    assert find_half(read_manifest(shared_bundle)) is None
    logged = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(logged) == (said is not None)
    assert all(one.startswith(str(said)) for one in logged)


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users are POSIX's")
def test_somebody_elses_uid_can_load_and_is_told_what_to_set(shared_bundle: Path) -> None:
    """As root a child becomes user 54321; otherwise it stays who it is, without a home."""
    if os.geteuid() == 0:
        for folder in (shared_bundle, *shared_bundle.parents):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
        found = tried(shared_bundle, [*({"strategy": strategy} for strategy in ANYTHING), "tune"], uid=54321)
        assert found[:3] == ["worked"] * 3, found
        assert found[3].startswith("CacheError there is no cache: this user has no home folder"), found


def test_an_entry_of_a_cache_that_cannot_be_written_is_used(shared_bundle: Path, tmp_path: Path) -> None:
    halve(shared_bundle)
    (tmp_path / "cache").chmod(0o555)
    try:
        assert find_half(read_manifest(shared_bundle)) is not None
    finally:
        (tmp_path / "cache").chmod(0o755)


def full(*arguments: object) -> Never:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_said_where_it_is_met(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnexport.tune.make.write_folded", full)
    with pytest.raises(CacheError, match=r"cannot be written: No space left on device; set XDG_CACHE_HOME"):
        tune(shared_bundle)
    require_cache()


def test_what_is_not_about_the_cache_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing_cache():
        (tmp_path / "bundle").read_text()
