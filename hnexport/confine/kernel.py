"""Requests to the Linux kernel that Python has no function for, through ctypes."""

import ctypes

__all__ = ["call", "control_process", "forbid_new_privileges"]

_NO_NEW_PRIVILEGES = 38


def call(what: str, number: int, *arguments: object) -> int:
    """Make a system call by its number.

    Raises:
        OSError: the kernel refuses; `what` says, for the message, who does not do what.
    """
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    found = int(function(ctypes.c_long(number), *arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), what)
    return found


def control_process(what: str, option: int, value: int) -> None:
    """Set a property of this process (`prctl`).

    Raises:
        OSError: the kernel refuses; with `what`.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), what)


def forbid_new_privileges() -> None:
    """Give up gaining rights by running programs, which Landlock and seccomp ask for before they restrict a process.

    Raises:
        OSError: the kernel refuses.
    """
    control_process("no_new_privs is refused", _NO_NEW_PRIVILEGES, 1)
