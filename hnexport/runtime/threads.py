"""How many threads compute: what a process's allowed cores leave for each of several sessions."""

from hnexport.machine.processor import allowed_cores

__all__ = ["MOST_THREADS", "threads_of_each"]

MOST_THREADS = 64
"""One ensemble's sessions compute with so many threads together, or with two for each allowed core if that is more."""


def threads_of_each(sessions: int, asked: int | None = None) -> int:
    """How many threads each of so many sessions computes with.

    What was asked for is taken as it is. Otherwise the allowed cores, but fewer where all sessions together would have
    more than `MOST_THREADS` threads and more than two for each allowed core.
    """
    if asked is not None:
        return asked
    cores = allowed_cores()
    return max(1, min(cores, max(MOST_THREADS, 2 * cores) // max(1, sessions)))
