"""What is published appears whole and at once; what was at its place, or comes there meanwhile, is never lost."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import pytest

from hnexport.errors import BundleError, CheckpointError
from hnexport.publishing import Contents, PlainMoves, Rules, SystemMoves, list_tree, staged_file, staged_folder

pytestmark = pytest.mark.parametrize("moves", [SystemMoves(), PlainMoves()], ids=["exchange", "plain renames"])


def judge(path: Any) -> Contents:
    """Folders whose files are all called `ours…`, and files that begin with it."""
    inside = list_tree(path) if path.is_dir() else (path.read_text(),)
    foreign = [name for name in inside if not name.startswith(("ours", "README"))]
    if foreign:
        raise BundleError(f"{path} holds {foreign[0]}")
    kept = frozenset(name for name in inside if name.startswith("README") and path.is_dir())
    return Contents(ours=frozenset(inside) - kept if path.is_dir() else frozenset(), kept=kept)


REPLACE = Rules(replaces=judge)


def names(folder: Path) -> list[Any]:
    return sorted(path.name for path in folder.iterdir())


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return path


APPEARANCES = {
    "a full folder": lambda path: folder_of(path, thesis="precious"),
    "an empty folder": lambda path: path.mkdir(),
    "a file": lambda path: path.write_text("precious"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
}
KINDS = {"folder": staged_folder, "file": staged_file}


def fill(kind: str, new: Path, text: str = "new") -> None:
    if kind == "folder":
        (new / "ours").write_text(text)
    else:
        new.write_text(f"ours {text}")


def publish(
    kind: str, target: Path, rules: Rules | None, moves: "PlainMoves | SystemMoves | Hooked", text: str = "new"
) -> None:
    with KINDS[kind](target, rules, moves=moves) as new:
        fill(kind, new, text)


def text_at(kind: str, target: Path) -> str:
    return (target / "ours").read_text() if kind == "folder" else target.read_text().removeprefix("ours ")


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_appears_when_the_body_is_done(tmp_path: Path, kind: str, moves: PlainMoves | SystemMoves) -> None:
    target = tmp_path / "target"
    with KINDS[kind](target, moves=moves) as new:
        fill(kind, new)
        assert not target.exists()
    assert names(tmp_path) == ["target"]
    assert text_at(kind, target) == "new"
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert target.stat().st_mode == (tmp_path / kind).stat().st_mode


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(
    tmp_path: Path, kind: str, error: type[BaseException], moves: PlainMoves | SystemMoves
) -> None:
    with pytest.raises(error), KINDS[kind](tmp_path / "target", moves=moves) as new:
        fill(kind, new)
        raise error
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("appear", APPEARANCES.values(), ids=APPEARANCES)
def test_what_appears_meanwhile_stays_and_is_an_error_that_names_it(
    tmp_path: Path, kind: str, appear: Callable[..., Any], moves: PlainMoves | SystemMoves
) -> None:
    target = tmp_path / "target"
    with (
        pytest.raises(BundleError, match=r"target exists, a .* that appeared meanwhile: it stays and nothing was"),
        KINDS[kind](target, moves=moves) as new,
    ):
        fill(kind, new)
        appear(target)
        before = target.lstat()
    assert target.lstat().st_ino == before.st_ino
    assert names(tmp_path) == ["target"]
    if stat.S_ISDIR(before.st_mode):
        assert names(target) in ([], ["thesis"])
    if stat.S_ISREG(before.st_mode):
        assert target.read_text() == "precious"


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_at_once_one_is_published_and_the_other_is_refused(
    tmp_path: Path, kind: str, moves: PlainMoves | SystemMoves
) -> None:
    target = tmp_path / "target"
    with pytest.raises(BundleError, match="appeared meanwhile"), KINDS[kind](target, moves=moves) as slow:
        fill(kind, slow, "slow")
        publish(kind, target, None, moves, "quick")
    assert text_at(kind, target) == "quick"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_rules_allow_is_replaced(tmp_path: Path, kind: str, moves: PlainMoves | SystemMoves) -> None:
    target = tmp_path / "target"
    publish(kind, target, None, moves, "old")
    publish(kind, target, REPLACE, moves, "new")
    assert text_at(kind, target) == "new"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("appear", "said"),
    [
        ("a full folder", "target holds thesis"),
        ("a file", "target holds precious"),
        ("a dangling link", "target is a symbolic link"),
    ],
)
def test_what_the_rules_do_not_allow_stays(
    tmp_path: Path, kind: str, appear: str, said: str, moves: PlainMoves | SystemMoves
) -> None:
    target = tmp_path / "target"
    APPEARANCES[appear](target)
    before = target.lstat().st_ino
    with pytest.raises(BundleError, match=said):
        publish(kind, target, REPLACE, moves)
    assert target.lstat().st_ino == before
    assert names(tmp_path) == ["target"]


def test_what_is_carried_over_is_what_it_was(tmp_path: Path, moves: PlainMoves | SystemMoves) -> None:
    target = folder_of(tmp_path / "target", ours="old", README="my notes")
    publish("folder", target, REPLACE, moves)
    assert (target / "README").read_text() == "my notes"
    assert text_at("folder", target) == "new"
    assert names(tmp_path) == ["target"]


class Hooked:
    """Somebody does something at the worst moment: just before the target leaves its place."""

    def __init__(self, moves: PlainMoves | SystemMoves, target: Path, do: Callable[[Any], None]) -> None:
        self._moves, self._target, self._do = moves, target, do

    def place(self, source: Path, target: Path) -> None:
        self._moves.place(source, target)

    def exchange(self, one: Path, other: Path) -> bool:
        do, self._do = self._do, lambda target: None
        do(self._target)
        return self._moves.exchange(one, other)


def rewrite_by_rename(target: Path) -> None:
    (target.parent / "other").write_text("my newest notes")
    (target.parent / "other").replace(target / "README")


LATE = {
    "a file": lambda target: (target / "thesis").write_text("precious"),
    "a folder": lambda target: folder_of(target / "src", code="precious"),
    "a link": lambda target: (target / "thesis").symlink_to("nowhere"),
    "a newer README": rewrite_by_rename,
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_what_is_put_into_the_target_at_the_last_moment_stays(
    tmp_path: Path, late: Callable[[Any], Any], moves: PlainMoves | SystemMoves
) -> None:
    target = folder_of(tmp_path / "target", ours="old", README="my notes")
    with pytest.raises(BundleError, match="changed while it was being replaced: it stays as it is"):
        publish("folder", target, REPLACE, Hooked(moves, target, late))
    assert text_at("folder", target) == "old"
    assert names(tmp_path) == ["target"]
    late(folder_of(tmp_path / "expected", ours="old", README="my notes"))
    assert list_tree(target) == list_tree(tmp_path / "expected")
    assert (target / "README").read_text() == (tmp_path / "expected" / "README").read_text()


def test_a_file_that_takes_the_targets_place_at_the_last_moment_stays(
    tmp_path: Path, moves: PlainMoves | SystemMoves
) -> None:
    target = folder_of(tmp_path / "target", ours="old")

    def swap(target: Path) -> None:
        target.rename(tmp_path / "aside")
        target.write_text("precious")

    with pytest.raises(BundleError, match="target changed while it was being replaced"):
        publish("folder", target, REPLACE, Hooked(moves, target, swap))
    assert target.read_text() == "precious"
    assert names(tmp_path) == ["aside", "target"]


def test_what_is_put_into_the_old_folder_by_a_program_that_has_it_open_stays(
    tmp_path: Path, moves: PlainMoves | SystemMoves, caplog: pytest.LogCaptureFixture
) -> None:
    target = folder_of(tmp_path / "target", ours="old")
    handle = os.open(target, os.O_RDONLY)
    try:
        looked = []

        def judge_and_write(path: Path) -> Contents:
            found = judge(path)
            looked.append(path)
            if len(looked) == 2:  # the last look, at what came away
                os.close(os.open("thesis", os.O_WRONLY | os.O_CREAT, dir_fd=handle))
            return found

        publish("folder", target, Rules(replaces=judge_and_write), moves)
    finally:
        os.close(handle)
    assert text_at("folder", target) == "new"
    (left,) = tmp_path.glob(".hnexport-*/*/thesis")
    assert f"{left.parent} holds files that hnexport did not write" in caplog.text
    publish("folder", tmp_path / "another", None, moves)
    assert left.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get)
def test_a_full_disk_is_an_error_of_the_callers_kind(
    tmp_path: Path, kind: str, code: int, moves: PlainMoves | SystemMoves
) -> None:
    rules = Rules(error=CheckpointError, called="name")
    with (
        pytest.raises(CheckpointError, match="is full: .*; free some space, or choose another name"),
        KINDS[kind](tmp_path / "target", rules, moves=moves),
    ):
        raise OSError(code, os.strerror(code))
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["n" * 255, "a b\n\t[red]", b"\xff\xfe".decode("utf-8", "surrogateescape"), "x." + "y" * 253]
)
def test_every_name_that_a_file_may_have_can_be_published(
    tmp_path: Path, kind: str, name: str, moves: PlainMoves | SystemMoves
) -> None:
    target = tmp_path / name
    publish(kind, target, None, moves, "old")
    publish(kind, target, REPLACE, moves, "new")
    assert text_at(kind, target) == "new"
    assert names(tmp_path) == [name]


def test_what_lies_in_a_layer_of_an_image_stays_and_the_message_says_why(
    tmp_path: Path, moves: PlainMoves | SystemMoves, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder_of(tmp_path / "target", ours="old")

    def refuse(*_: object) -> Never:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(type(moves), "exchange", refuse)
    with pytest.raises(BundleError, match="belongs to a container's image"):
        publish("folder", target, REPLACE, moves)
    assert names(tmp_path) == ["target"]
    assert text_at("folder", target) == "old"
