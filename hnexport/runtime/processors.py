"""How many threads may compute: what this process is allowed, and what that leaves for each of several sessions."""

import os
from collections.abc import Iterable
from pathlib import Path

from hnexport.runtime.control_group import cpu_quota

__all__ = ["MOST_THREADS", "allowed_cores", "physical_cores", "threads_of_each"]

MOST_THREADS = 64
"""One ensemble's sessions compute with so many threads together, or with two for each allowed core if that is more."""

_CPUS = Path("/sys/devices/system/cpu")


def allowed_cores() -> int:
    """The cores that this process may compute on, at least 1.

    On Linux the physical cores among the processors of its affinity mask (two hyperthreads of a core gain a
    convolution nothing), and no more than the whole processors in its control groups' quota. Elsewhere, all processors.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = physical_cores(os.sched_getaffinity(0))
    quota = cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def physical_cores(processors: Iterable[int], folder: Path = _CPUS) -> int:
    """How many different cores some logical processors are on; one that the system says nothing about is its own."""
    return len({_siblings(processor, folder) for processor in processors})


def threads_of_each(sessions: int, asked: int | None = None) -> int:
    """How many threads each of so many sessions computes with.

    What was asked for is taken as it is. Otherwise the allowed cores, but fewer where all sessions together would have
    more than `MOST_THREADS` threads and more than two for each allowed core.
    """
    if asked is not None:
        return asked
    cores = allowed_cores()
    return max(1, min(cores, max(MOST_THREADS, 2 * cores) // max(1, sessions)))


def _siblings(processor: int, folder: Path) -> str:
    try:
        return (folder / f"cpu{processor}" / "topology" / "thread_siblings_list").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return f"only {processor}"
