"""The processor: its name, its instructions, and how much of it this process may use.

Linux says it in `/proc/cpuinfo` and below `/sys`, macOS through `sysctl`, Windows in its registry. Features have
Linux's names everywhere (`avx512_vnni`, `asimddp`).
"""

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from hnexport.machine.control_group import cpu_quota

__all__ = [
    "allowed_cores",
    "integer_products",
    "logical_processors",
    "physical_cores",
    "processor_features",
    "processor_identity",
    "processor_name",
    "usable_processors",
]

_CPUS = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
_IDENTITY = ("vendor_id", "cpu family", "model", "model name", "flags", "Features")
_X64 = ("avx512_vnni", "avx_vnni", "amx_int8")
_ARM = ("asimddp", "i8mm")
_APPLE = {"FEAT_DotProd": "asimddp", "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16", "FEAT_FP16": "asimdhp"}
_SYSCTL_SECONDS = 5


def processor_name() -> str:
    """The processor as its maker calls it ("AMD EPYC 9R14"); its architecture where the system does not say more."""
    named = _cpuinfo("model name") or _sysctl("machdep.cpu.brand_string") or _registered_name()
    return named or platform.processor() or platform.machine() or "unknown"


def processor_features() -> frozenset[str] | None:
    """The processor's instruction sets by Linux's names; None where the system does not say."""
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    if flags is not None:
        return frozenset(flags.split())
    arm = {name: _sysctl(f"hw.optional.arm.{apple}") for apple, name in _APPLE.items()}
    if any(value is not None for value in arm.values()):
        return frozenset(name for name, value in arm.items() if value == "1")
    x64 = [_sysctl(f"machdep.cpu.{kind}") for kind in ("features", "leaf7_features")]
    if any(x64):
        words = " ".join(filter(None, x64)).lower().split()
        return frozenset(word.replace("avx512vnni", "avx512_vnni") for word in words)
    return None


def processor_identity() -> list[str]:
    """Lines that differ wherever kernels may: architecture, maker, model and instruction sets."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return [platform.machine(), processor_name(), *sorted(processor_features() or ())]
    found = [platform.machine()]
    for name in _IDENTITY:
        found += [line for line in lines if line.partition(":")[0].strip() == name][:1]
    return found


def integer_products() -> tuple[str, ...] | None:
    """The instructions of this processor that multiply int8 (VNNI, AMX, Arm's dot product), by Linux's names.

    None where the system does not say, as on Windows.
    """
    features = processor_features()
    if features is None:
        return None
    known = _ARM if platform.machine().lower() in ("aarch64", "arm64") else _X64
    return tuple(name for name in known if name in features)


def logical_processors() -> int:
    """The machine's logical processors, hyperthreads counted, at least 1."""
    return os.cpu_count() or 1


def usable_processors() -> int:
    """The logical processors that this process may run on, at least 1.

    Of the machine's those in the affinity mask, where the system has one; `PYTHON_CPU_COUNT` replaces the number from
    Python 3.13 on. Quotas of containers are no part of it, see `allowed_cores`.
    """
    count = getattr(os, "process_cpu_count", None)  # from Python 3.13 on
    found = count() if count is not None else len(_affinity() or ())
    return found or logical_processors()


def allowed_cores() -> int:
    """The cores that this process may compute on, at least 1.

    The physical cores among the processors that it may run on (two hyperthreads of a core gain a convolution nothing),
    where Linux or macOS tells them apart, and no more than the whole processors in its control groups' quota.
    """
    cores, mask = usable_processors(), _affinity()
    if mask is not None:
        cores = min(cores, physical_cores(mask))
    elif (physical := _sysctl("hw.physicalcpu") or "").isdecimal():
        cores = min(cores, int(physical))
    quota = cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def physical_cores(processors: Iterable[int], folder: Path = _CPUS) -> int:
    """How many different cores some logical processors are on; one that the system says nothing about is its own."""
    return len({_siblings(processor, folder) for processor in processors})


def _affinity() -> set[int] | None:
    """The numbers of the processors that this process may run on; None where the system has no such mask."""
    mask = getattr(os, "sched_getaffinity", None)  # neither macOS nor Windows has it
    return None if mask is None else set(mask(0))


def _siblings(processor: int, folder: Path) -> str:
    try:
        return (folder / f"cpu{processor}" / "topology" / "thread_siblings_list").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return f"only {processor}"


def _cpuinfo(name: str) -> str | None:
    """A field of the first processor in Linux's list, None elsewhere."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)


@functools.cache
def _sysctl(name: str) -> str | None:
    """A value that macOS's kernel tells; None elsewhere, and where this kernel does not have it."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", name]
        try:
            done = subprocess.run(command, capture_output=True, check=True, timeout=_SYSCTL_SECONDS)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.decode(errors="replace").strip() or None
    return None


def _registered_name() -> str | None:
    """The processor's name in Windows' registry; None elsewhere."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip() or None
        except OSError:
            return None
    return None
