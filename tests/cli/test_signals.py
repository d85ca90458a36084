"""A signal ends a command once, through its cleanup, with 128 + its number."""

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

# Says "ready", waits to be interrupted, cleans up for as long as standard input is open, and says "cleaned".
COMMAND = """
import sys, time
from hnexport.cli import faults, output, signals
{extra}
def command():
    try:
        output.say("ready")
        {wait}
    finally:
        output.say("cleaning")
        sys.stdin.readline()
        output.say("cleaned")
output.prepare()
signals.install(verbose=lambda: False)
sys.exit(output.finish(faults.exit_code(command)))
"""
WAIT = "while True: time.sleep(0.01)"
# The exception of the handler is dropped, once: Python cannot raise it in a finaliser.
DROPPED = """
class Loses:
    def __del__(self):
        output.say("in the finaliser")
        while True: time.sleep(0.01)
"""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
each_signal = pytest.mark.parametrize(("number", "code"), CODES.items(), ids=lambda value: getattr(value, "name", ""))


def start(wait: str = WAIT, extra: str = "", ignored: tuple[()] | list[Any] = ()) -> subprocess.Popen[str]:
    """The process, with every signal as a terminal would leave it, but those that are ignored."""

    def dispositions() -> None:
        for number in CODES:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(wait=wait, extra=extra)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions,  # noqa: PLW1509 - sets dispositions and nothing else
    )


def said(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout.readline() == f"{line}\n"


@each_signal
def test_a_signal_ends_a_command_through_its_cleanup(number: signal.Signals, code: int) -> None:
    process = start()
    said(process, "ready")
    process.send_signal(number)
    said(process, "cleaning")
    shown, error = process.communicate("\n", timeout=60)
    assert (process.returncode, shown, error) == (code, "cleaned\n", "")


@each_signal
def test_another_signal_does_not_cut_the_cleanup_short(number: signal.Signals, code: int) -> None:
    process = start()
    said(process, "ready")
    process.send_signal(number)
    said(process, "cleaning")
    for other in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        process.send_signal(other)
    shown, error = process.communicate("\n", timeout=60)
    assert (process.returncode, shown, error) == (code, "cleaned\n", "")


def test_the_third_interrupt_ends_the_process_whatever_it_does() -> None:
    process = start()
    said(process, "ready")
    process.send_signal(signal.SIGINT)
    said(process, "cleaning")
    while process.poll() is None:  # interrupts that arrive together count as one
        process.send_signal(signal.SIGINT)
        os.sched_yield()
    assert process.wait(timeout=60) == -signal.SIGINT
    process.communicate()


@each_signal
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals, code: int) -> None:
    """As under `nohup`, and for SIGINT in a shell's background job."""
    process = start(wait="sys.stdin.readline()", ignored=[number])
    said(process, "ready")
    process.send_signal(number)
    process.stdin.write("\n")
    process.stdin.flush()
    said(process, "cleaning")
    shown, error = process.communicate("\n", timeout=60)
    assert (process.returncode, shown, error) == (0, "cleaned\n", "")


@each_signal
def test_a_signal_that_python_dropped_is_raised_again(number: signal.Signals, code: int) -> None:
    process = start(wait="one = Loses(); del one; time.sleep(1000)", extra=DROPPED)
    said(process, "ready")
    said(process, "in the finaliser")
    process.send_signal(number)
    said(process, "cleaning")
    shown, error = process.communicate("\n", timeout=60)
    assert (process.returncode, shown, error) == (code, "cleaned\n", "")
