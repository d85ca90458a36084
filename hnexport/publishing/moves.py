"""Renames that never replace, and exchanges: by `renameat2` where the system has it, by plain renames elsewhere."""

import ctypes
import errno
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Moves", "PlainMoves", "SystemMoves"]

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}  # EPERM: old seccomp filters


class Moves(Protocol):
    """How files and folders change places within one file system."""

    def place(self, source: Path, target: Path) -> None:
        """Rename to where nothing is.

        Raises:
            FileExistsError: something is there, be it an empty folder or a dangling link; it stays.
        """

    def exchange(self, one: Path, other: Path) -> bool:
        """Let two paths change places at once; False, and nothing done, where that cannot be had."""


class PlainMoves:
    """Without the help of the kernel: an empty folder that appears within microseconds may be replaced."""

    def place(self, source: Path, target: Path) -> None:
        """As `Moves.place`; a file by a hard link, which never replaces, and a folder by a rename."""
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        if not source.is_dir():
            try:
                os.link(source, target)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                pass
            else:
                source.unlink()
                return
        try:
            os.rename(source, target)
        except OSError as error:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
            raise

    def exchange(self, one: Path, other: Path) -> bool:
        """Cannot be had."""
        return False


class SystemMoves:
    """With `renameat2` (Linux, and file systems that support its flags), else as `PlainMoves`."""

    def place(self, source: Path, target: Path) -> None:
        """As `Moves.place`."""
        if not _renameat2(source, target, _NOREPLACE):
            PlainMoves().place(source, target)

    def exchange(self, one: Path, other: Path) -> bool:
        """As `Moves.exchange`."""
        return _renameat2(one, other, _EXCHANGE)


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Whether it was done; False where the system does not support it."""
    function = _function()
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))


@cache
def _function() -> Any:
    if sys.platform != "linux":
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library from before 2018
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function
