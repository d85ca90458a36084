"""Linux with what only Linux has taken away; Python imports this first where `PYTHONPATH` names its folder.

There is neither `os.sched_getaffinity` nor `resource` nor `fcntl`, and nothing below `/proc` and `/sys` can be read.
`pretend` also tells some modules that they run on another system.
"""

import builtins
import errno
import importlib
import importlib.abc
import io
import os
import signal
import sys
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
    for name in ("sched_getaffinity", "sched_setaffinity"):
        if hasattr(os, name):
            delattr(os, name)
    for module in TAKEN:
        sys.modules.pop(module, None)
    sys.meta_path.insert(0, _Absent())
    builtins.open = io.open = _hidden(io.open)  # type: ignore[assignment]
    for name in ("open", "stat", "listdir", "scandir", "readlink"):
        setattr(os, name, _hidden(getattr(os, name)))


class _Sys(types.ModuleType):
    """The module `sys` of another system."""

    def __init__(self, platform: str) -> None:
        super().__init__("sys")
        self.__dict__["platform"] = platform

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(sys, name, value)


def pretend(name: str, modules: Sequence[str]) -> None:
    """From now on these modules run on another system, as far as Python says it; libraries stay on this one."""
    told = _Sys(name)
    for module in map(importlib.import_module, modules):
        if getattr(module, "sys", None) is sys:
            module.sys = told  # type: ignore[attr-defined]
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
        sys.modules["msvcrt"] = locks
        # A registry of its own would mislead libraries that look for one.
        sys.modules["hnexport.machine.processor"]._registered_name = lambda: None  # type: ignore[attr-defined]


take_away()
