"""Write beside a target, and put it there last and at once."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hnexport.errors import HnexportError
from hnexport.publishing.container import Container, sweep
from hnexport.publishing.contents import Contents, carry_over, list_tree, same_kept, sync, sync_tree
from hnexport.publishing.interrupts import deferred_signals
from hnexport.publishing.moves import Moves, SystemMoves
from hnexport.publishing.rules import Rules, unwritable, what_is_at

__all__ = ["staged_file", "staged_folder"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IN_A_LAYER = "what is there belongs to a container's image, where a folder can be removed but not moved"


@contextmanager
def staged_folder(target: Path, rules: Rules | None = None, *, moves: Moves | None = None) -> Iterator[Path]:
    """An empty folder that becomes `target` if the body succeeds, and vanishes if it does not.

    Args:
        rules: what may be replaced; by default nothing: what appears at `target` meanwhile stays and is an error.
        moves: how to rename; by default with what the system offers.

    Raises:
        BundleError (or as `rules` say): something is at `target` that may not be replaced, the disk is full, or the
            folder cannot be written or renamed. What is at `target` is as it was.
    """
    with _staged(target, rules or Rules(), moves or SystemMoves(), "") as new:
        new.mkdir()
        yield new


@contextmanager
def staged_file(target: Path, rules: Rules | None = None, *, moves: Moves | None = None) -> Iterator[Path]:
    """As `staged_folder`, for one file: a path with the target's ending, at which the body writes it."""
    with _staged(target, rules or Rules(), moves or SystemMoves(), _short(target.suffix)) as new:
        yield new


def _short(suffix: str) -> str:
    """The ending by which libraries choose a format; what is longer is none, and might not fit into a name."""
    return suffix if len(os.fsencode(suffix)) <= 32 else ""


@contextmanager
def _staged(target: Path, rules: Rules, moves: Moves, suffix: str) -> Iterator[Path]:
    sweep(target.parent, moves)
    try:
        container = Container.make(target, suffix)
    except OSError as error:
        if error.errno in _FULL:
            raise _full(target, rules, error) from error
        raise unwritable(target.parent, rules, error.strerror) from error
    try:
        yield container.new
        _publish(container, rules, moves)
    except OSError as error:
        if error.errno in _FULL:
            raise _full(target, rules, error) from error
        raise
    finally:
        container.remove(moves)


def _full(target: Path, rules: Rules, error: OSError) -> HnexportError:
    return rules.error(f"{target.parent} is full: {error.strerror}; free some space, or choose another {rules.called}")


def _publish(container: Container, rules: Rules, moves: Moves) -> None:
    target = container.target
    sync_tree(container.new)
    container.declare(list_tree(container.new))
    try:
        with deferred_signals():
            if not _place(container, rules, moves):
                _replace(container, rules, moves)
            sync(target.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise
        reason = _IN_A_LAYER if error.errno == errno.EXDEV else error.strerror
        raise rules.error(
            f"{target} could not be put at its place: {reason}; nothing was published, choose another {rules.called}"
        ) from error


def _place(container: Container, rules: Rules, moves: Moves) -> bool:
    """Put it where nothing is; False where something is that may be replaced."""
    target = container.target
    if rules.replaces is not None and os.path.lexists(target):
        return False
    try:
        moves.place(container.new, target)
    except FileExistsError:
        if rules.replaces is None:
            found = what_is_at(target, rules) or "something"
            raise rules.error(
                f"{target} exists, {found} that appeared meanwhile: it stays and nothing was published; {rules.remedy}"
            ) from None
        return False
    return True


def _replace(container: Container, rules: Rules, moves: Moves) -> None:
    """Exchange what is at the target with the new, look again at what came away, and leave it to be removed."""
    target = container.target
    before = _held(target, target, rules)
    own = list_tree(container.new)
    carry_over(target, container.new, before.kept)
    sync_tree(container.new)
    container.declare({*own, *before.kept}, before.names)
    if moves.exchange(container.new, target):
        if not _unchanged(container.new, target, before, rules):
            _put_back(container, moves)
            raise _changed(target, rules)
        return
    os.rename(target, container.old)
    if not _unchanged(container.old, container.new, before, rules):
        raise _changed(target, rules)  # the container's end moves the old one back
    try:
        moves.place(container.new, target)
    except FileExistsError:
        raise rules.error(
            f"{target} was taken while it was being replaced: what was there is in {container.old}"
        ) from None


def _put_back(container: Container, moves: Moves) -> None:
    """Undo an exchange; where that fails, what was at the target stays in the container for its owner."""
    try:
        if moves.exchange(container.new, container.target):
            return
    except OSError:
        pass
    container.leave()
    raise OSError(errno.EBUSY, f"what was there is in {container.new} now and could not be moved back")


def _unchanged(old: Path, new: Path, before: Contents, rules: Rules) -> bool:
    """Whether what came away from the target is what was looked at."""
    try:
        return _held(old, old, rules) == before and same_kept(old, new, before.kept)
    except (HnexportError, OSError):
        return False


def _held(path: Path, target: Path, rules: Rules) -> Contents:
    if rules.replaces is None or what_is_at(path, rules) == "a symbolic link":
        raise rules.error(f"{target} is a symbolic link: give what it points to as {rules.called}")
    return rules.replaces(path)


def _changed(target: Path, rules: Rules) -> HnexportError:
    return rules.error(
        f"{target} changed while it was being replaced: it stays as it is and nothing was published; "
        f"look at what it holds, or choose another {rules.called}"
    )
