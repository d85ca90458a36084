"""The options of every onnxruntime session that the runtime opens, and the allocator that they share."""

import functools

import onnxruntime

from hnexport.runtime.shared_threads import shared_threads
from hnexport.runtime.threads import threads_of_each

__all__ = ["session_options"]

_SAME_AS_REQUESTED = 1  # how the arena grows: by what is asked for; by itself it doubles


def session_options(threads: int | None, *, prepack: bool = True) -> onnxruntime.SessionOptions:
    """New options for one session, with so many threads; None is the cores that this process may use.

    Where `share_threads` was called, the session computes with the process's pool instead.

    Threads stop spinning when a call ends: otherwise two members in turn fight for the cores, each with its own threads
    (WRN-28-10, batch 1, 2 cores: 61 ms instead of 27 ms). Activations come from one arena that all sessions share, so
    that ten members do not keep ten sets of them; without an arena a batch of 32 takes 1.03 to 1.09 times as long. They
    are not planned ahead for each batch size (memory patterns): that gains little time, and takes twice the memory
    where weights are generated in every call (1,160 MB instead of 500 MB). Weights stay out of the arena: those of a
    member that is dropped go back to the system. Prepacking would copy the hypernetwork's bases out of the mapped file,
    150 MB for WRN-28-10, and gains nothing for a single row.
    """
    _register_arena()
    options = onnxruntime.SessionOptions()
    if shared_threads() is None:
        options.intra_op_num_threads = threads_of_each(1, threads)
    else:
        options.use_per_session_threads = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


@functools.cache  # once a process
def _register_arena() -> None:
    """Register an arena for the CPU with onnxruntime; only sessions that ask for it use it."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg({"arena_extend_strategy": _SAME_AS_REQUESTED})
    onnxruntime.create_and_register_allocator(place, arena)
