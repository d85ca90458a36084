"""Linux with what only Linux has taken away; Python imports this first where `PYTHONPATH` names its folder.

There is neither `os.sched_getaffinity` nor `resource` nor `fcntl`, and nothing below `/proc` and `/sys` can be read.
`HNEXPORT_ELSEWHERE`, "darwin" or "win32", is what `sys.platform` says once `pretend` was called: libraries that load
other files on those systems have to be imported before.
"""

import builtins
import errno
import importlib.abc
import io
import os
import platform
import signal
import sys
import sysconfig
import types
from collections.abc import Callable, Sequence
from typing import Any

TAKEN = ("resource", "fcntl")
HIDDEN = ("/proc", "/sys")


class _Absent(importlib.abc.MetaPathFinder):
    """The modules that only some systems have."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> None:
        if fullname in TAKEN:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def _hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    def seen(path: Any = ".", *rest: Any, **named: Any) -> Any:
        if isinstance(path, str | os.PathLike):
            text = str(os.fspath(path))
            if any(text == root or text.startswith(f"{root}/") for root in HIDDEN):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
        return function(path, *rest, **named)

    return seen


def take_away() -> None:
    """Take it away."""
    for name in ("sched_getaffinity", "sched_setaffinity", "process_cpu_count"):
        if hasattr(os, name):
            delattr(os, name)
    for module in TAKEN:
        sys.modules.pop(module, None)
    sys.meta_path.insert(0, _Absent())
    builtins.open = io.open = _hidden(io.open)  # type: ignore[assignment]
    for name in ("open", "stat", "listdir", "scandir", "readlink"):
        setattr(os, name, _hidden(getattr(os, name)))


def pretend(name: str) -> None:
    """From now on this is another system, as far as Python says it."""
    sysconfig.get_config_vars()  # read from a file whose name has the platform in it
    sys.platform = name
    if name == "darwin":  # it has both modules
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Absent)]
    platform.system = lambda: {"darwin": "Darwin", "win32": "Windows"}[name]
    if name == "win32":
        for number in ("SIGHUP", "SIGKILL"):
            delattr(signal, number)
        for function in ("fork", "killpg", "geteuid", "set_blocking", "readv", "sysconf"):
            delattr(os, function)
        for flag in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_PATH", "O_ACCMODE"):
            delattr(os, flag)
        locks = types.ModuleType("msvcrt")
        locks.locking = lambda handle, mode, count: None  # type: ignore[attr-defined]
        locks.LK_NBLCK = 2  # type: ignore[attr-defined]
        registry = types.ModuleType("winreg")
        registry.HKEY_LOCAL_MACHINE = 0  # type: ignore[attr-defined]
        registry.OpenKey = lambda root, path: io.StringIO(path)  # type: ignore[attr-defined]
        registry.QueryValueEx = lambda key, value: (" Some Processor @ 3 GHz ", 1)  # type: ignore[attr-defined]
        sys.modules |= {"msvcrt": locks, "winreg": registry}


take_away()
