"""How much memory is left and how much this process has taken; freed memory goes back to the system."""

import ctypes
import os
import sys
from pathlib import Path

from hnexport.machine.control_group import memory_left_bytes

__all__ = ["available_bytes", "peak_bytes", "release_freed_memory", "resident_bytes"]


def available_bytes() -> int | None:
    """Memory that this process can still take, in bytes; None where the system does not say.

    On Linux the smaller of what the machine and what the control group (the container) has left; on Windows what it
    calls available; elsewhere half of the machine's memory.
    """
    if sys.platform == "win32":
        return _available_on_windows()
    if sys.platform != "linux":
        return _half_of_the_machine()
    known = [value for value in (_meminfo("MemAvailable"), memory_left_bytes()) if value is not None]
    return min(known, default=None)


def release_freed_memory() -> None:
    """Give the allocator's free pages back; without it glibc keeps the temporaries of every member that was made."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)


def resident_bytes() -> int | None:
    """What this process holds in memory now, in bytes; where the system tells only the most that it held, that.

    None where the system says neither.
    """
    if sys.platform == "win32":
        found = _taken_on_windows()
        return None if found is None else found[1]
    pages = _words("/proc/self/statm")
    if len(pages) > 1:
        return int(pages[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_bytes()


def peak_bytes() -> int | None:
    """The most that this process held in memory, in bytes; None where the system does not say.

    On Linux not by `getrusage`, which counts what the parent held before the fork.
    """
    if sys.platform == "win32":
        found = _taken_on_windows()
        return None if found is None else found[0]
    words = _words("/proc/self/status")
    if "VmHWM:" in words:
        return 1024 * int(words[words.index("VmHWM:") + 1])
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _half_of_the_machine() -> int | None:
    """What POSIX tells everywhere is what is built in, not what is left."""
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return None


def _meminfo(name: str) -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []


def _available_on_windows() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ulong), ("load", ctypes.c_ulong), ("bytes", ctypes.c_ulonglong * 7))

    status = Status(length=ctypes.sizeof(Status))
    windll = getattr(ctypes, "windll", None)
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.bytes[1])


def _taken_on_windows() -> tuple[int, int] | None:
    """The most, and what is now, in this process's working set, in bytes."""

    class Counters(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ulong), ("faults", ctypes.c_ulong), ("sizes", ctypes.c_size_t * 8))

    counters = Counters(length=ctypes.sizeof(Counters))
    windll = getattr(ctypes, "windll", None)
    if windll is None:
        return None
    ask = windll.kernel32.K32GetProcessMemoryInfo
    ask.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong)
    if not ask(ctypes.c_void_p(-1), ctypes.byref(counters), counters.length):  # -1 stands for this process
        return None
    return int(counters.sizes[0]), int(counters.sizes[1])
