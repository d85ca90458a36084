"""The filter is a list of what may be called; for both processors it ends in a refusal."""

import errno

import pytest

from hnexport.confine.seccomp import MACHINES, call_numbers, filter_program

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
MARKS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def decided(machine: str, number: int, *arguments: int, mark: int | None = None) -> int:
    """Run the filter as the kernel would."""
    steps, place, held = filter_program(machine, process=7), 0, 0
    record = {0: number, 4: MARKS[machine] if mark is None else mark}
    for position, value in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        record[16 + 8 * position] = value & 0xFFFFFFFF
        record[20 + 8 * position] = value >> 32
    while True:
        code, yes, no, value = steps[place]
        place += 1
        if code == 0x20:
            held = record[value]
        elif code == 0x54:
            held &= value
        elif code == 0x06:
            return value
        else:
            place += yes if (held == value if code == 0x15 else held >= value) else no


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_not_listed_is_refused(machine: str) -> None:
    listed = {*call_numbers(machine, checked=False).values(), *call_numbers(machine, checked=True).values()}
    for number in set(range(600)) - listed:
        assert decided(machine, number) == REFUSE, number
    for number in call_numbers(machine, checked=False).values():
        assert decided(machine, number) == ALLOW, number


@pytest.mark.parametrize("machine", MACHINES)
def test_another_processors_calls_end_the_process(machine: str) -> None:
    assert decided(machine, 0, mark=0x40000003) == KILL
    assert decided(machine, 0x40000000) == KILL


ARGUMENTS = {
    "reading a file": ("openat", (0, 0, 0o2000000), ALLOW),
    "writing a file": ("openat", (0, 0, 1), REFUSE),
    "making a file": ("openat", (0, 0, 0o100), REFUSE),
    "cutting a file": ("openat", (0, 0, 0o1000), REFUSE),
    "private memory": ("mmap", (0, 0, 3, 0x22), ALLOW),
    "shared memory": ("mmap", (0, 0, 3, 0x21), REFUSE),
    "memory that grows as a stack does": ("mmap", (0, 0, 3, 0x122), REFUSE),
    "a thread": ("clone", (0x3D0F00,), ALLOW),
    "a process": ("clone", (17,), REFUSE),
    "a signal to itself": ("tgkill", (7, 7, 6), ALLOW),
    "a signal to another": ("tgkill", (8, 8, 9), REFUSE),
    "asking for a limit": ("prlimit64", (0, 2, 0, 1), ALLOW),
    "setting a limit": ("prlimit64", (0, 2, 1 << 32, 0), REFUSE),
    "the limit of another": ("prlimit64", (8, 2, 0, 1), REFUSE),
    "typing into a terminal": ("ioctl", (0, 0x5412), REFUSE),
    "owning a file's signals": ("fcntl", (0, 8), REFUSE),
    "a thread by a structure": ("clone3", (), 0x00050000 | errno.ENOSYS),
}


@pytest.mark.parametrize("case", ARGUMENTS)
@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide_where_a_call_could_do_more_than_compute(machine: str, case: str) -> None:
    name, arguments, expected = ARGUMENTS[case]
    assert decided(machine, call_numbers(machine, checked=True)[name], *arguments) == expected
