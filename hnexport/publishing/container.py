"""Containers: hidden folders beside a target in which it is written, each locked for as long as its writer lives.

A container is `.hnexport-RANDOM-NAME/`, in which NAME is the target's. It holds a `marker`, the thing that is being
written as `new`, and, where two paths cannot be exchanged, for a moment `old`: what was at the target. The marker is
written only once it is locked, so that one with text and without a lock belongs to a writer that died. It names its own
container: a hidden folder without such a marker, or a copy of a container, is somebody's and is never touched.
"""

import atexit
import contextlib
import json
import logging
import os
import secrets
import stat
import sys
from collections.abc import Collection
from pathlib import Path

from hnexport.publishing.contents import list_tree, remove_listed, sync
from hnexport.publishing.interrupts import deferred_signals
from hnexport.publishing.locks import try_lock
from hnexport.publishing.moves import Moves, SystemMoves

__all__ = ["Container", "sweep"]

logger = logging.getLogger(__name__)

_PREFIX = ".hnexport-"
_MARKER = "marker"
_SCHEMA = "hnexport-staging"
_NAME_BYTES = 200  # of the target's name in the container's, whose own is bound by 255
_MARKER_BYTES = 2**24
_READ_WRITE = os.O_RDWR | getattr(os, "O_BINARY", 0)  # Windows would turn line feeds into two characters
_MODE = 0o777 if sys.platform == "win32" else 0o700  # there what is in it keeps its rights when it is moved out
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
_alive: set[str] = set()  # over NFS a lock does not keep its own process out


class Container:
    """One container. `new` and `old` need not exist."""

    def __init__(self, path: Path, handle: int, target: Path, new: str) -> None:
        self.path, self.target, self._handle, self._is_open = path, target, handle, True
        self._pid = os.getpid()
        self.new, self.old = path / new, path / "old"
        self._listed: dict[str, tuple[int, frozenset[str]]] = {}
        _alive.add(_key(path))
        atexit.register(self.remove)  # should an interrupt arrive just before the clean-up begins

    @classmethod
    def make(cls, target: Path, suffix: str = "") -> "Container":
        """A container beside `target`, whose `new` has the ending `suffix`.

        Raises:
            OSError: it cannot be made.
        """
        name = target.name
        while len(os.fsencode(name)) > _NAME_BYTES:
            name = name[:-1]
        with deferred_signals():
            path = target.parent / f"{_PREFIX}{secrets.token_hex(6)}-{name}"
            path.mkdir(mode=_MODE)
            try:
                handle = os.open(path / _MARKER, _READ_WRITE | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError:
                path.rmdir()
                raise
            made = cls(path, handle, target, f"new{suffix}")
            try_lock(handle)
            try:
                made._write({"schema": _SCHEMA, "itself": _itself(path), "target": target.name, "new": made.new.name})
            except OSError:
                made.remove()
                raise
        return made

    def declare(self, new: Collection[str], old: Collection[str] | None = None) -> None:
        """Say what `new` holds and what `target` holds: from now on nothing else is removed from either.

        Raises:
            OSError: it cannot be written down.
        """
        self._listed["new"] = (self.new.lstat().st_ino, frozenset(new))
        if old is not None:
            self._listed["old"] = (self.target.lstat().st_ino, frozenset(old))
        self._write({key: [inode, sorted(names)] for key, (inode, names) in self._listed.items()})
        sync(self.path)

    def _write(self, line: dict[str, object]) -> None:
        os.write(self._handle, json.dumps(line).encode() + b"\n")
        os.fsync(self._handle)

    def remove(self, moves: Moves | None = None) -> None:
        """Bring back what was moved away for nothing, and remove what was written here; never raises `OSError`."""
        with deferred_signals():
            if not self._is_open or os.getpid() != self._pid:  # a fork has none of its own
                return
            try:
                self._remove(moves or SystemMoves())
            except OSError as error:
                logger.warning("%s could not be removed: %s", self.path, error)
            finally:
                self._close()

    def leave(self) -> None:
        """Hand over what is here: from now on nobody of ours touches it."""
        with deferred_signals(), contextlib.suppress(OSError):
            self._close()
            (self.path / _MARKER).unlink(missing_ok=True)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            atexit.unregister(self.remove)
            _alive.discard(_key(self.path))
            os.close(self._handle)

    def _remove(self, moves: Moves) -> None:
        if os.path.lexists(self.old) and os.path.lexists(self.new):  # the new one never came to its place
            try:
                moves.place(self.old, self.target)
                sync(self.target.parent)
            except OSError as error:
                logger.warning("what was at %s is in %s: it could not be moved back (%s)", self.target, self.old, error)
                return
        left = [path for path in (self.new, self.old) if not remove_listed(path, self._names(path))]
        self._close()  # Windows removes no file that is open
        (self.path / _MARKER).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()
        if left:
            logger.warning("%s holds files that hnexport did not write: they stay there", left[0])

    def _names(self, path: Path) -> Collection[str]:
        """What may be removed from `new` or `old`: everything while it was being written, then what was listed."""
        if path == self.old:
            return self._listed.get("old", (0, frozenset()))[1]
        if not self._listed or not os.path.lexists(path):
            return list_tree(path)
        inode, names = self._listed.get("old", (-1, frozenset()))  # after an exchange, what was at the target
        return names if inode == path.lstat().st_ino else self._listed["new"][1]


def sweep(parent: Path, moves: Moves | None = None) -> None:
    """Remove the containers of writers that died, after bringing back what they had moved away. Never raises."""
    with contextlib.suppress(OSError):
        for path in sorted(parent.glob(f"{_PREFIX}*")):
            with contextlib.suppress(*_UNREADABLE), deferred_signals():
                found = None if _key(path) in _alive else _abandoned(path)
                if found is not None:
                    found.remove(moves)


def _abandoned(path: Path) -> Container | None:
    """A container whose writer is dead, locked; None for one whose writer lives, and for what is none of ours."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
        return None
    flags = _READ_WRITE | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path / _MARKER, flags)
    try:
        found = _read(path, handle)
    except BaseException:
        os.close(handle)
        raise
    if found is None:
        os.close(handle)
    return found


def _read(path: Path, handle: int) -> Container | None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        return None
    first, _, rest = os.read(handle, _MARKER_BYTES).partition(b"\n")
    head = json.loads(first)
    if head["schema"] != _SCHEMA or Path(head["target"]).name != head["target"] or not head["new"].startswith("new"):
        return None
    if head["itself"] != _itself(path):
        return None
    if Path(head["new"]).name != head["new"] or not try_lock(handle) or os.fstat(handle).st_nlink == 0:
        return None
    rest += os.read(handle, _MARKER_BYTES)  # what its writer added before it died
    listed: dict[str, tuple[int, frozenset[str]]] = {}
    for line in rest.splitlines(keepends=True):
        if line.endswith(b"\n"):  # else it was cut short, and what it announced was not begun
            listed |= {key: (int(inode), frozenset(names)) for key, (inode, names) in json.loads(line).items()}
    found = Container(path, handle, path.parent / head["target"], head["new"])
    found._listed = listed
    return found


def _itself(path: Path) -> list[object]:
    """What a copy of a folder does not have: its name and its inode."""
    return [path.name, path.lstat().st_ino]


def _key(path: Path) -> str:
    return os.path.abspath(path)
