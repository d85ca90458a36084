"""Put a process into confinement, for good, and prove that it took."""

import contextlib
import ctypes.util
import errno
import importlib.util
import os
import signal
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hnexport.confine.kernel import control_process
from hnexport.confine.landlock import abi_version, restrict_files
from hnexport.confine.limits import limit_resources, missing_for_confinement
from hnexport.confine.seccomp import restrict_calls

__all__ = ["ConfinementError", "die_with_parent", "enter", "hide_files"]

_PARENT_DEATH_SIGNAL = 1  # of prctl
_PACKAGES = ("hnexport", "torch", "numpy", "onnx", "onnxruntime", "onnxscript", "onnx_ir", "safetensors", "sympy")


class ConfinementError(Exception):
    """This system cannot confine a process; the message says what is missing."""


def hide_files() -> None:
    """The first step, before libraries are imported: from now on this process reads libraries, and writes nothing.

    Landlock binds the thread that asks and those that it starts; libraries start threads when they are imported.

    Raises:
        ConfinementError: this system cannot do it.
    """
    if (missing := missing_for_confinement()) is not None:
        raise ConfinementError(missing)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise ConfinementError(f"the process has {threads} threads already")
    if abi_version() < 1:
        raise ConfinementError("its kernel has no Landlock (Linux 5.13 or later, with landlock among its LSMs)")
    sys.dont_write_bytecode = True
    tempfile.tempdir = "/"  # libraries ask for one when they are imported; none can be written to
    ctypes.util.find_library = _found_nowhere  # NVIDIA's bindings ask when PyTorch for CUDA imports them
    try:
        restrict_files(_readable())
    except OSError as error:
        raise ConfinementError(f"{error}") from error


def _found_nowhere(name: str) -> None:
    """Python's own asks a compiler and the linker, and writes a file for them; who asks has a name to fall back on."""


def enter(memory_bytes: int) -> None:
    """The second step: this process keeps what it has open and computes, and can do nothing else; there is no way back.

    Call it before anything of a stranger's is looked at.

    Args:
        memory_bytes: what may be allocated from now on.

    Raises:
        ConfinementError: this system cannot do it, or it did not take.
    """
    try:
        limit_resources(memory_bytes)
        restrict_calls()
    except OSError as error:
        raise ConfinementError(f"{error}") from error
    _prove(Path("/tmp") / f"hnexport-confinement-{os.getpid()}-{os.urandom(8).hex()}")  # noqa: S108


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, whatever it is doing then."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            control_process("a signal at the parent's death is refused", _PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before
            os._exit(1)


def _readable() -> Iterator[Path]:
    """Python, the packages that it may import, the system's libraries, and what libraries ask about the machine."""
    for name in ("/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache"):
        yield Path(name)
    for name in ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/dev/urandom"):
        yield Path(name)
    for scheme in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(scheme))
    for entry in map(Path, sys.path):
        if entry.name in ("site-packages", "dist-packages", "lib-dynload"):
            yield entry
    for prefix in (sys.prefix, sys.base_prefix):
        yield Path(prefix) / "lib"
    for package in _PACKAGES:  # wherever they lie; other things beside them stay hidden
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield Path(place)


def _prove(probe: Path) -> None:
    """Try what must not be possible, each by a way of its own.

    Raises:
        ConfinementError: one of them was.
    """
    if sys.platform == "win32":
        raise ConfinementError("Windows has no such confinement to try")
    attempts: dict[str, Callable[[], object]] = {
        "create a file": lambda: probe.open("xb"),
        "make a folder": lambda: probe.mkdir(),
        "open a file to write": lambda: os.open("/dev/null", os.O_WRONLY),
        "read a stranger's file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "open a socket": lambda: socket.socket(socket.AF_UNIX),
        "open a network socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "start a process": os.fork,
        "run a program": lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),  # noqa: S606
        "signal another process": lambda: os.kill(os.getppid(), 0),
        "change permissions": lambda: os.chmod(sys.executable, 0o755),  # noqa: S103
    }
    for what, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise ConfinementError(
                    f"it could not be told whether a confined process can {what}: {error}"
                ) from error
        else:
            raise ConfinementError(f"a confined process can still {what}")
