"""What a build may replace: a bundle by its schema, with nothing in it that its manifest does not list."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from special_files import make_pipe

from hnexport.bundle.card import is_as_made, with_mark
from hnexport.bundle.writer import bundle_contents, bundle_rules, check_target, staged_folder
from hnexport.errors import BundleError
from hnexport.publishing import Contents, Rules, check_place

SCHEMA = "hnexport-bundle"


def names(folder: Path) -> list[Any]:
    return sorted(path.name for path in folder.iterdir())


def write_bundle(folder: Path, content: str = "old", version: int = 1, **files: Any) -> Path:
    """A folder that is a bundle by its manifest's schema."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"weights.bin": content, **files}
    for name, text in files.items():
        (folder / name).write_text(text)
    manifest = {"schema": SCHEMA, "schema_version": version, "files": {name: {} for name in files}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def replace(target: Path, text: str = "new") -> None:
    """As a forced build does."""
    with staged_folder(target, bundle_rules(force=True)) as folder:
        write_bundle(folder, text)


def test_a_bundle_is_replaced_whole(tmp_path: Path) -> None:
    target = write_bundle(tmp_path / "bundle", **{"model.pt2": "gone with the next"})
    replace(target)
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["manifest.json", "weights.bin"]
    assert (target / "weights.bin").read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = write_bundle(tmp_path / "bundle")
    with pytest.raises(error), staged_folder(target, bundle_rules(force=True)) as folder:
        write_bundle(folder, "new")
        raise error
    assert names(tmp_path) == ["bundle"]
    assert (target / "weights.bin").read_text() == "old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["disk full", "quota"])
def test_a_full_disk_is_a_clear_error(tmp_path: Path, code: int) -> None:
    with pytest.raises(BundleError, match="is full: .*; free some space"), staged_folder(tmp_path / "bundle"):
        raise OSError(code, os.strerror(code))
    assert names(tmp_path) == []


def test_an_existing_target_is_refused_without_force(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BundleError, match="exists: choose another target, or give force=True to replace it"):
        check_target(tmp_path / "bundle", force=False, needed_bytes=0)


NO_BUNDLES = {
    "no manifest": None,
    "somebody's manifest": '{"manifest_version": 3, "name": "my extension"}',
    "a manifest that is not an object": '["hnexport-bundle"]',
    "half a manifest": '{"schema": "hnexport-bundle", "files"',
    "a manifest that nests without end": "[" * 100_000,
    "a manifest that is not text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("manifest", NO_BUNDLES.values(), ids=NO_BUNDLES)
def test_force_replaces_only_bundles(tmp_path: Path, manifest: bytes | str | None) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (tmp_path / "manifest.json").write_bytes(manifest.encode() if isinstance(manifest, str) else manifest)
    before = names(tmp_path)
    with pytest.raises(BundleError, match="is not a bundle: force=True replaces only bundles; choose another target"):
        check_target(tmp_path, force=True, needed_bytes=0)
    with pytest.raises(BundleError, match="is not a bundle: force=True replaces only bundles; choose another target"):
        replace(tmp_path)
    assert names(tmp_path) == before


def test_force_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("a file")
    with pytest.raises(BundleError, match="is not a bundle: force=True replaces only bundles; choose another target"):
        check_target(tmp_path / "bundle", force=True, needed_bytes=0)


def test_a_manifest_that_is_a_pipe_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    make_pipe(tmp_path / "bundle" / "manifest.json")
    with pytest.raises(BundleError, match="is not a bundle"):
        check_target(tmp_path / "bundle", force=True, needed_bytes=0)


FOREIGN = {
    "a file": lambda folder: (folder / "thesis.txt").write_text("precious"),
    "a hidden file": lambda folder: (folder / ".env").write_text("precious"),
    "a folder": lambda folder: (folder / "src").mkdir(),
    "a file in a folder": lambda folder: (
        (folder / "src").mkdir(),
        (folder / "src" / "code.js").write_text("precious"),
    ),
    "a link": lambda folder: (folder / "latest").symlink_to("weights.bin"),
    "a dangling link": lambda folder: (folder / "latest").symlink_to("nowhere"),
    "a pipe": lambda folder: make_pipe(folder / "pipe"),
    "a folder in place of a listed file": lambda folder: (
        (folder / "weights.bin").unlink(),
        (folder / "weights.bin").mkdir(),
        (folder / "weights.bin" / "thesis.txt").write_text("precious"),
    ),
}


@pytest.mark.parametrize("add", FOREIGN.values(), ids=FOREIGN)
def test_force_refuses_a_bundle_with_something_that_its_manifest_does_not_list(
    tmp_path: Path, add: Callable[[Any], Any]
) -> None:
    target = write_bundle(tmp_path / "bundle")
    before = set(names(target))
    add(target)
    found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*"))
    with pytest.raises(BundleError, match="which its manifest does not list") as refusal:
        check_target(target, force=True, needed_bytes=0)
    assert any(f"holds {name}" in str(refusal.value) for name in {*set(found) - before, "weights.bin"})
    with pytest.raises(BundleError, match="which its manifest does not list"):
        replace(target)
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*")) == found
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: write_bundle(folder, version=99),
        lambda folder: (folder / "weights.bin").unlink(),
        lambda folder: (folder / "weights.bin").write_text("half"),
    ],
    ids=["another version", "a file is missing", "a file is damaged"],
)
def test_a_damaged_bundle_is_still_ours_to_replace(tmp_path: Path, damage: Callable[[Any], Any]) -> None:
    target = write_bundle(tmp_path / "bundle")
    damage(target)
    replace(target)
    assert (target / "weights.bin").read_text() == "new"


def test_a_bundle_of_links_loses_the_links_and_not_what_they_point_to(tmp_path: Path) -> None:
    target = write_bundle(tmp_path / "bundle")
    (target / "weights.bin").rename(tmp_path / "blob")
    (target / "weights.bin").symlink_to("../blob")
    replace(target)
    assert (tmp_path / "blob").read_text() == "old"
    assert (target / "weights.bin").read_text() == "new"
    assert not (target / "weights.bin").is_symlink()


def test_what_a_model_hub_added_is_carried_over(tmp_path: Path) -> None:
    target = write_bundle(tmp_path / "bundle")
    (target / "README.md").write_text("my model card")
    (target / ".gitattributes").symlink_to("README.md")
    (target / ".cache" / "huggingface").mkdir(parents=True)
    (target / ".cache" / "huggingface" / "weights.metadata").write_text("etag")
    replace(target)
    assert names(target) == [".cache", ".gitattributes", "README.md", "manifest.json", "weights.bin"]
    assert (target / "README.md").read_text() == "my model card"
    assert os.readlink(target / ".gitattributes") == "README.md"
    assert (target / ".cache" / "huggingface" / "weights.metadata").read_text() == "etag"
    assert (target / "weights.bin").read_text() == "new"
    assert names(tmp_path) == ["bundle"]


def write_with_card(target: Path, text: str) -> None:
    """As a forced build does whose bundle has a card of its own."""
    with staged_folder(target, bundle_rules(force=True)) as folder:
        write_bundle(folder, text)
        (folder / "README.md").write_text(with_mark(f"about {text}\n"))


def test_a_card_goes_with_its_bundle_unless_somebody_completed_it(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for text in ("old", "new"):
        write_with_card(target, text)
        assert (target / "README.md").read_text() == with_mark(f"about {text}\n")
    replace(target)
    assert names(target) == ["manifest.json", "weights.bin"]
    write_with_card(target, "old")
    mine = with_mark("about old\n").replace("about", "all about")
    (target / "README.md").write_text(mine)
    write_with_card(target, "new")
    assert (target / "README.md").read_text() == mine
    assert (target / "weights.bin").read_text() == "new"
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize(
    ("content", "made"),
    [
        (with_mark("a\nb\n").encode(), True),
        (with_mark("a\nb\n").replace("\n", "\r\n").encode(), True),
        (with_mark("a\nb\n").rstrip("\n").encode(), True),
        (with_mark("a\nb\n").replace("a", "A", 1).encode(), False),
        (with_mark("a\nb\n").encode() + b"more\n", False),
        (b"a\nb\n", False),
        (b"", False),
        (b"\xff\xfe", False),
        (None, False),
    ],
)
def test_a_card_that_nobody_touched_is_known(tmp_path: Path, content: bytes | None, made: bool) -> None:
    if content is not None:
        (tmp_path / "README.md").write_bytes(content)
    assert is_as_made(tmp_path / "README.md") == made


def test_an_empty_folder_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    assert bundle_contents(tmp_path / "bundle").names == frozenset()
    replace(tmp_path / "bundle")
    assert names(tmp_path / "bundle") == ["manifest.json", "weights.bin"]


@pytest.mark.parametrize("points_to", ["real", "nowhere"])
@pytest.mark.parametrize("force", [False, True])
def test_a_target_that_is_a_link_is_refused_with_what_it_points_to(tmp_path: Path, force: bool, points_to: str) -> None:
    write_bundle(tmp_path / "real")
    (tmp_path / "bundle").symlink_to(points_to)
    with pytest.raises(BundleError, match=f"is a symbolic link to {points_to}: give what it points to as target"):
        check_target(tmp_path / "bundle", force=force, needed_bytes=0)
    with (
        pytest.raises(BundleError, match="bundle (exists, a|is a) symbolic link"),
        staged_folder(tmp_path / "bundle", bundle_rules(force=force)),
    ):
        pass
    assert names(tmp_path) == ["bundle", "real"]
    assert (tmp_path / "real" / "weights.bin").read_text() == "old"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("out", [".", "..", "/", "a/.."])
def test_a_target_without_a_name_of_its_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool, out: str
) -> None:
    write_bundle(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="has no name of its own"):
        check_target(type(tmp_path)(out), force=force, needed_bytes=0)


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="the mount point of Linux")
def test_a_mount_point_is_refused_before_the_work() -> None:
    rules = Rules(replaces=lambda found: Contents())
    with pytest.raises(BundleError, match="/proc is a mount point, which nothing can take the place of: name a folder"):
        check_place(Path("/proc"), rules)


def test_a_disk_that_is_too_small_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"MB free, the bundle needs about 1000000000 MB"):
        check_target(tmp_path / "bundle", force=False, needed_bytes=10**15)
    assert names(tmp_path) == []


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written to"):
        check_target(tmp_path / "file" / "bundle", force=False, needed_bytes=0)


@pytest.mark.parametrize("where", ["n" * 256, "p" * 256 + "/bundle"], ids=["the name", "the parent"])
def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path, where: str) -> None:
    with pytest.raises(BundleError, match="File name too long; choose another target"):
        check_target(tmp_path / where, force=False, needed_bytes=0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users are POSIX's")
def test_a_parent_that_may_not_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    """As a user without privileges, whoever runs the tests."""
    parent = tmp_path / "theirs"
    parent.mkdir()
    parent.chmod(0o555)
    code = (
        "import os, pathlib, sys\n"
        "from hnexport.bundle.writer import check_target\n"
        "os.chdir(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "check_target(pathlib.Path('theirs/bundle'), force=False, needed_bytes=0)"
    )
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "BundleError: theirs cannot be written to: Permission denied; choose another target" in done.stderr


CARD = """
import os, sys
from pathlib import Path
from hnexport.publishing import staged_file
with staged_file(Path(sys.argv[1]) / "README.md") as new:
    new.write_text("half")
    print(flush=True)
    {then}
"""


def test_what_a_killed_writer_of_the_card_left_is_no_reason_to_refuse(tmp_path: Path) -> None:
    target = write_bundle(tmp_path / "bundle")
    subprocess.run([sys.executable, "-c", CARD.format(then="os._exit(9)"), target], stdout=subprocess.PIPE, check=False)
    assert len(names(target)) == 3
    replace(target)
    assert names(target) == ["manifest.json", "weights.bin"]


def test_a_card_that_is_being_written_is(tmp_path: Path) -> None:
    target = write_bundle(tmp_path / "bundle")
    command = [sys.executable, "-c", CARD.format(then="sys.stdin.read()"), target]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        with pytest.raises(BundleError, match=r"holds \.hnexport-.*README\.md"):
            replace(target)
        writer.stdin.close()
        writer.wait()
    assert (target / "README.md").read_text() == "half"
