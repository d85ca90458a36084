"""The control groups (containers) that this process is in: what they leave of the machine's processors and memory.

A limit of any group from the process's own up to the root binds it. In a container the root that is mounted usually is
the container's own group, whatever path `/proc/self/cgroup` names: of that path, what is there is read.
"""

from collections.abc import Iterator
from pathlib import Path

__all__ = ["cpu_quota", "memory_left_bytes"]

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_quota(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> float | None:
    """How many processors' time this process's groups may use, say 1.5; None without a limit."""
    quotas = [quota for folder in _folders("cpu", root, membership) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def memory_left_bytes(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> int | None:
    """What is left below the memory limits, in bytes, version 2 and 1; None without a limit.

    Cached file pages that can be dropped at once count as free, as they do in `MemAvailable`.
    """
    left = [bytes_ for folder in _folders("memory", root, membership) if (bytes_ := _memory_left(folder)) is not None]
    return min(left, default=None)


def _folders(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    """The folders of the process's own group and of all above it, in every hierarchy that may hold the limit."""
    unified, own = _paths(controller, membership)
    bases = (
        (root, unified),
        (root / "unified", unified),
        (root / controller, own),
        (root / f"{controller},cpuacct", own),
    )
    for base, path in bases:
        parts = [part for part in path.split("/") if part]
        if ".." in parts:  # a group outside of what this container sees
            parts = []
        for depth in range(len(parts), -1, -1):
            yield base.joinpath(*parts[:depth])


def _paths(controller: str, membership: Path) -> tuple[str, str]:
    """The process's group in the unified hierarchy (version 2), and in the controller's own (version 1)."""
    unified = own = ""
    try:
        lines = membership.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return unified, own
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            unified = path
        elif controller in controllers.split(","):
            own = path
    return unified, own


def _quota(folder: Path) -> float | None:
    try:
        words = (folder / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = [(folder / name).read_text(encoding="ascii").strip() for name in names]
        except (OSError, ValueError):
            return None
    try:
        time, period = (int(word) for word in words)  # "max" is no limit, and so is -1
    except ValueError:
        return None
    return time / period if time > 0 and period > 0 else None


def _memory_left(folder: Path) -> int | None:
    for limit, used, droppable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            allowed = int((folder / limit).read_text(encoding="ascii"))  # "max" is no limit
            taken = int((folder / used).read_text(encoding="ascii"))
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
            return max(0, allowed - taken + int(statistics.get(droppable, 0)))
        except (OSError, ValueError):
            continue
    return None
