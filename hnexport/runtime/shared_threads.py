"""One pool of compute threads for all of a process's sessions: onnxruntime's, which can be set once a process."""

import threading

import onnxruntime

from hnexport.errors import RuntimeInputError
from hnexport.machine.processor import allowed_cores
from hnexport.runtime.validation import require_threads

__all__ = ["share_threads", "shared_threads"]

_lock = threading.Lock()
_count: int | None = None


def share_threads(count: int | None = None) -> int:
    """Let every session that is opened from now on compute with one pool of threads, and say how many it has.

    Without it each session has threads of its own, so that ten resident members have ten sets of them; with it, calls
    of different members at once take turns on the same threads. `threads` of `load` then has no effect.

    onnxruntime has one such pool for the whole process and cannot change it: call this once, before `load`. Sessions
    that were made before keep their own threads. From then on onnxruntime refuses sessions that want their own, so an
    application must open its own sessions with `options.use_per_session_threads = False`. OpenVINO is not concerned.

    Args:
        count: threads that compute, the caller's included; None takes the cores that this process may use.

    Raises:
        RuntimeInputError: the pool is there already, with another count or made by the application itself.
    """
    global _count  # noqa: PLW0603  # as the pool: one a process
    if count is not None:
        require_threads("count", count)
    with _lock:
        if _count is not None:
            if count not in (None, _count):
                raise RuntimeInputError(
                    f"this process shares {_count} threads already, and onnxruntime cannot change that: expected "
                    f"count={_count} or None, found {count}; start a new process for another count"
                )
            return _count
        wanted = count or allowed_cores()
        try:
            onnxruntime.set_global_thread_pool_sizes(wanted, 1)
        except Exception as error:  # onnxruntime's exceptions have no common root
            raise RuntimeInputError(
                f"this application has set onnxruntime's global thread pool itself ({error}); leave share_threads out: "
                "hnexport's sessions use that pool"
            ) from error
        _count = wanted
        return wanted


def shared_threads() -> int | None:
    """How many threads the shared pool has; None where every session has its own."""
    return _count
