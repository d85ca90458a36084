"""What a folder holds, by name: only what was listed is ever removed."""

import contextlib
import errno
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Contents", "carry_over", "list_tree", "remove_listed", "same_kept", "sync", "sync_tree"]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is at a place that may be replaced.

    Attributes:
        ours: paths relative to the folder that hnexport wrote; they go.
        kept: paths relative to the folder that others added and that are carried over.
    """

    ours: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Every path."""
        return self.ours | self.kept


def list_tree(path: Path) -> tuple[str, ...]:
    """Every file, link and folder under `path`, relative to it, with `/`; a folder after what it holds; () for a file.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    if path.is_symlink() or not path.is_dir():
        return ()
    found = []
    for folder, folders, files in os.walk(path, topdown=False, onerror=refuse):
        inner = Path(folder).relative_to(path)
        found += [(inner / name).as_posix() for name in (*sorted(files), *sorted(folders))]
    return tuple(found)


def remove_listed(path: Path, names: Collection[str]) -> bool:
    """Remove a file, or a folder's entries that are in `names` and then the folder; whether nothing is left."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return True
        for name in list_tree(path):
            if name in names:
                _remove(path / name)
        _remove(path)
    return not os.path.lexists(path)


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def carry_over(old: Path, new: Path, names: Collection[str]) -> None:
    """Bring `names` from one folder into another; the old folder keeps them too. Files that stand there give way.

    Raises:
        OSError: one is neither a file nor a link nor a folder, or cannot be copied.
    """
    for name in sorted(names):  # folders before what they hold
        source, target = old / name, new / name
        target.unlink(missing_ok=True)
        if source.is_dir() and not source.is_symlink():
            target.mkdir()
            continue
        try:
            os.link(source, target, follow_symlinks=False)  # what is written into it meanwhile is in both
        except FileExistsError:
            raise
        except OSError:
            if not source.is_symlink() and not source.is_file():
                raise
            shutil.copy2(source, target, follow_symlinks=False)


def same_kept(old: Path, new: Path, names: Collection[str]) -> bool:
    """Whether what was carried over is still what the old folder holds."""
    for name in names:
        one, other = os.lstat(old / name), os.lstat(new / name)
        same = os.path.samestat(one, other) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
        if not same and not (old / name).is_dir():
            return False
    return True


def sync_tree(path: Path) -> None:
    """Bring a file, or a folder with all that it holds, to the disk: a rename must not outlive the data it names."""
    for name in (*list_tree(path), ""):
        entry = path / name if name else path
        if not entry.is_symlink():
            sync(entry)


def sync(path: Path) -> None:
    """Bring one file or folder to the disk, where the system can."""
    if path.is_dir():
        with contextlib.suppress(OSError):  # Windows opens no folders, and some file systems do not sync them
            _fsync(path, os.O_RDONLY)
        return
    try:
        _fsync(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
