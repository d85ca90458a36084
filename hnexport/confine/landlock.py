"""Landlock, Linux's sandbox for files and sockets, through ctypes: read a few folders, and nothing else.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from hnexport.confine.kernel import call, forbid_new_privileges

__all__ = ["abi_version", "restrict_files"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every processor
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# The rights over files that each version of the interface knows: execute, write, …, refer, truncate, ioctl of devices.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP_RIGHTS = 0b11  # bind and connect, from version 4
_NOT = "Landlock does not "
_NAMED_ONLY = getattr(os, "O_PATH", 0)  # of Linux alone, where this module is asked
_SCOPES = 0b11  # abstract sockets and signals, from version 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi_version() -> int:
    """The version of the kernel's Landlock; 0 where it has none."""
    try:
        return call("", _CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except OSError:
        return 0


def restrict_files(readable: Iterable[Path]) -> None:
    """Take every right over files from this thread and what it starts, but to read below `readable`.

    From version 4 of Landlock on TCP is refused too, from version 6 on signals and abstract sockets.

    Args:
        readable: files and folders; those that do not exist are passed over.

    Raises:
        OSError: this kernel has no Landlock, or refuses.
    """
    version = abi_version()
    if version < 1:
        raise OSError("this kernel has no Landlock")
    rights = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    wanted = _Ruleset(rights, _TCP_RIGHTS if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    length = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = call(
        f"{_NOT}create a ruleset", _CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(length), ctypes.c_uint32(0)
    )
    try:
        for path in readable:
            _allow(ruleset, path)
        forbid_new_privileges()
        call(f"{_NOT}restrict this process", _RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path) -> None:
    try:
        opened = os.open(path, _NAMED_ONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return
    try:
        rights = _READ_FILE | (_READ_FOLDER if path.is_dir() else 0)
        rule = _PathBeneath(rights, opened)
        call(
            f"{_NOT}allow {path}",
            _ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(opened)
