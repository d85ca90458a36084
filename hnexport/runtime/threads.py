"""One thread pool for every session of the process.

onnxruntime's threads spin for a while after each call. With one pool a session, two members in turn therefore fight for
the cores (WRN-28-10, batch 1, 2 cores: 61 ms instead of 26 ms); with the shared pool they do not.
"""

import logging
import threading

import onnxruntime

from hnexport.errors import RuntimeInputError

__all__ = ["share_threads"]

logger = logging.getLogger(__name__)


class _Pool:
    lock = threading.Lock()
    size: int | None = None  # None before the first load; 0 is onnxruntime's own choice


def share_threads(threads: int | None) -> None:
    """Create the process's thread pool, or check that it has the size that is asked for.

    Args:
        threads: compute threads; None takes the pool that exists, or onnxruntime's default (the physical cores).

    Raises:
        RuntimeInputError: the pool has another size; onnxruntime cannot replace it.
    """
    with _Pool.lock:
        if _Pool.size is None:
            try:
                onnxruntime.set_global_thread_pool_sizes(threads or 0, 1)
                _Pool.size = threads or 0
                return
            except Exception as error:  # the application made the pool before us
                logger.info("using the thread pool that this process already has: %s", error)
                _Pool.size = 0
        if threads is not None and threads != _Pool.size:
            found = f"{_Pool.size} threads" if _Pool.size else "a thread pool of default size"
            raise RuntimeInputError(
                f"threads={threads}: this process already has {found}, shared by all its ensembles and fixed by the "
                "first load; leave threads out, or give it in the first load"
            )
