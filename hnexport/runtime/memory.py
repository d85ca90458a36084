"""How much memory there is, and handing freed memory back to the system."""

import ctypes
import os
import platform
from pathlib import Path

from hnexport.runtime.control_group import memory_left_bytes

__all__ = ["available_bytes", "release_freed_memory"]


def available_bytes() -> int | None:
    """Memory that this process can still take, in bytes; None where the system does not say.

    On Linux the smaller of what the machine and what the control group (the container) has left.
    """
    if platform.system() == "Windows":
        return _available_on_windows()
    if platform.system() == "Linux":
        machine = _meminfo("MemAvailable")
        group = memory_left_bytes()
        known = [value for value in (machine, group) if value is not None]
        return min(known) if known else None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return None


def release_freed_memory() -> None:
    """Give the allocator's free pages back; without it glibc keeps the temporaries of every member that was made."""
    if platform.system() == "Linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)


def _meminfo(name: str) -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _available_on_windows() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ulong), ("load", ctypes.c_ulong), ("bytes", ctypes.c_ulonglong * 7))

    status = Status(length=ctypes.sizeof(Status))
    windll = getattr(ctypes, "windll", None)
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.bytes[1])
