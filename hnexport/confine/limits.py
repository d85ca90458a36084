"""What a confined process may use: memory by the kernel's limits, time by its parent's clock."""

import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Budget", "limit_resources", "missing_for_confinement"]

# Addresses that hold nothing: threads reserve them by the 128 MiB. What is only read costs page tables all the same.
_RESERVED_BYTES = 2**37
_STACK_BYTES = 64 * 2**20  # of the first thread: it may be unlimited, and is no data


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a confined process, from when its libraries are imported.

    Attributes:
        memory_bytes: what it may allocate, beyond what it holds when it is confined.
        cpu_seconds: processor time of all its threads, beside what each question allows.
        idle_seconds: how long it may neither compute nor wait for a processor, in its whole life. Time in which a
            busy machine does not run it is not counted.
    """

    memory_bytes: int
    cpu_seconds: float
    idle_seconds: float


def missing_for_confinement() -> str | None:
    """Why this system can confine no process, in half a sentence; None where it is worth trying.

    Whether the kernel has what it takes, a process finds out when it confines itself.
    """
    if sys.platform != "linux":
        return f"{sys.platform} has neither Landlock nor seccomp"
    try:
        import resource  # noqa: F401

        _field("/proc/self/status", "VmData:")
    except (ImportError, OSError, StopIteration) as error:
        return f"what a process takes could not be told and bounded: {error}"
    return None


def limit_resources(memory_bytes: int) -> None:
    """Bound this process's memory; forbid growing files, core dumps, locked memory and more than a few open files.

    Raises:
        OSError: the system has no such limits, or refuses one.
    """
    if sys.platform == "win32":
        raise OSError("Windows has no resource limits")
    import resource

    status = "/proc/self/status"
    limits = {
        resource.RLIMIT_DATA: _field(status, "VmData:") * 1024 + memory_bytes,
        resource.RLIMIT_AS: _field(status, "VmSize:") * 1024 + memory_bytes + _RESERVED_BYTES,
        resource.RLIMIT_STACK: _STACK_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (value, value))


def _field(path: str, name: str) -> int:
    lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
