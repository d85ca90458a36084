"""A seccomp filter through ctypes: the system calls that arithmetic needs, and none besides.

Landlock says which files may be opened; it does not know permissions, times, signals, processes, memory files and most
kinds of sockets. The filter lists what may be called; everything else, known or yet to be invented, is refused with
EPERM. Where a call may do more than compute, its arguments are looked at: files are opened for reading only, threads
may be started but no processes, signals go to this process alone, memory is never shared, no limit is changed. Nothing
is enlarged by mremap, which counts a stack against no limit; libc's realloc copies then.

Source: https://docs.kernel.org/userspace-api/seccomp_filter.html; the numbers are the kernel's own tables.
"""

import ctypes
import errno
import os
import platform

from hnexport.confine.kernel import call, forbid_new_privileges

__all__ = ["MACHINES", "call_numbers", "filter_program", "restrict_calls"]

_SECCOMP_SET_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in the kernel's record of a call; little-endian machines

Step = tuple[int, int, int, int]  # code, jump if true, jump if false, value


# By name: its number on x86-64 and on aarch64 ("-": not there).
_FREE = """
read 0 63, write 1 64, close 3 57, stat 4 -, fstat 5 80, lstat 6 -, poll 7 -, lseek 8 62, mprotect 10 226,
munmap 11 215, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, pread64 17 67,
readv 19 65, writev 20 66, access 21 -, select 23 -, sched_yield 24 124, madvise 28 233,
nanosleep 35 101, getpid 39 172, exit 60 93, uname 63 160, getcwd 79 17, readlink 89 -,
gettimeofday 96 169, getrusage 98 165, sysinfo 99 179, times 100 153, getuid 102 174, getgid 104 176,
geteuid 107 175, getegid 108 177, getppid 110 173, rt_sigpending 127 136, sigaltstack 131 132,
sched_getparam 143 121, sched_getscheduler 145 120, gettid 186 178, time 201 -, futex 202 98,
sched_getaffinity 204 123, getdents64 217 61, set_tid_address 218 96, restart_syscall 219 128,
clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94, newfstatat 262 79,
faccessat 269 48, readlinkat 267 78, pselect6 270 72, ppoll 271 73, set_robust_list 273 99,
get_mempolicy 239 236, getcpu 309 168, getrandom 318 278, membarrier 324 283, statx 332 291, rseq 334 293,
faccessat2 439 439
"""
_CHECKED = """
open 2 -, openat 257 56, mmap 9 222, clone 56 220, clone3 435 435, tgkill 234 131, fcntl 72 25,
ioctl 16 29, prctl 157 167, prlimit64 302 261
"""
_PLACE = {"x86_64": 0, "aarch64": 1}
_MARK = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
MACHINES = tuple(_PLACE)
_FOR_WRITING = 0b11  # O_ACCMODE: write only, or read and write


def call_numbers(machine: str, *, checked: bool) -> dict[str, int]:
    """The calls that a processor has, by name: those that are free, or those whose arguments are looked at."""
    rows = [item.split() for item in (_CHECKED if checked else _FREE).replace("\n", " ").split(",")]
    found = {name: numbers[_PLACE[machine]] for name, *numbers in rows}
    return {name: int(number) for name, number in found.items() if number != "-"}


def filter_program(machine: str, process: int) -> list[Step]:
    """The filter for a processor and the process number that may get signals."""
    refused = _returning(_ERROR | errno.EPERM)
    steps: list[Step] = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, _MARK[machine]),
        _returning(_KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    # Numbers with bit 30 are another table on x86-64, with other meanings.
    steps += [(_AT_LEAST, 0, 1, 0x40000000), _returning(_KILL)]
    for number in call_numbers(machine, checked=False).values():
        steps += [(_EQUAL, 0, 1, number), _returning(_ALLOW)]
    for name, number in call_numbers(machine, checked=True).items():
        checks = [*_checks(name, process, refused), _returning(_ALLOW)]
        if name == "clone3":
            checks = [_returning(_ERROR | errno.ENOSYS)]  # its arguments cannot be looked at: libc takes clone instead
        steps += [(_EQUAL, 0, len(checks), number), *checks]
    return [*steps, refused]


def restrict_calls() -> None:
    """Put the filter in force for every thread of this process, and whatever it starts.

    Raises:
        OSError: there is no filter for this processor, or the kernel refuses.
    """
    machine = platform.machine()
    if machine not in MACHINES or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(f"there is no seccomp filter for {machine} here")
    steps = filter_program(machine, os.getpid())
    code = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    program = _Program(len(steps), code)
    forbid_new_privileges()
    refused = "the kernel refuses a seccomp filter"
    flags = ctypes.c_uint(_ALL_THREADS)
    thread = call(refused, _SECCOMP[machine], ctypes.c_uint(_SECCOMP_SET_FILTER), flags, ctypes.byref(program))
    if thread:  # one that has a filter of its own
        raise OSError(f"{refused} for thread {thread}")


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.POINTER(_Instruction)))


def _returning(action: int) -> Step:
    return (_RETURN, 0, 0, action)


def _checks(name: str, process: int, refused: Step) -> list[Step]:
    """Steps that refuse a call by its arguments, and run on where they allow it."""
    match name:
        case "open" | "openat":
            place = 1 if name == "open" else 2
            # Neither to write (which a nameless temporary file, O_TMPFILE, asks for too) nor to create or empty a file.
            unwanted = _FOR_WRITING | os.O_CREAT | os.O_TRUNC
            return [(_LOAD, 0, 0, _low(place)), (_AND, 0, 0, unwanted), (_EQUAL, 1, 0, 0), refused]
        case "mmap":  # memory that is shared or grows as a stack does (MAP_GROWSDOWN) is counted against no limit
            return [(_LOAD, 0, 0, _low(3)), (_AND, 0, 0, 0x101), (_EQUAL, 1, 0, 0), refused]
        case "clone":  # a thread of this process: CLONE_THREAD
            return [(_LOAD, 0, 0, _low(0)), (_AND, 0, 0, 0x10000), (_EQUAL, 0, 1, 0), refused]
        case "tgkill":
            return _one_of(0, (process,), refused)
        case "fcntl":  # copies of descriptors, and the flags of what is open
            return _one_of(1, (0, 1, 2, 3, 4, 1030), refused)
        case "ioctl":  # is this a terminal; how much can be read; close on exec
            return _one_of(1, (0x5401, 0x541B, 0x5450, 0x5451), refused)
        case "prctl":  # the names of threads
            return _one_of(0, (15, 16), refused)
        case "prlimit64":  # ask, but set nothing: the pointer to the new limit is null
            return [
                *((step) for half in (0, 4) for step in ((_LOAD, 0, 0, _low(2) + half), (_EQUAL, 1, 0, 0), refused)),
                *_one_of(0, (0, process), refused),
            ]
        case _:
            return []


def _one_of(place: int, values: tuple[int, ...], refused: Step) -> list[Step]:
    tests = [(_EQUAL, len(values) - number, 0, value) for number, value in enumerate(values)]
    return [(_LOAD, 0, 0, _low(place)), *tests, refused]


def _low(argument: int) -> int:
    """Where the lower half of an argument lies."""
    return _ARGUMENTS + 8 * argument
