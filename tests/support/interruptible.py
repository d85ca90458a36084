"""`hnexport` as a command that hears every interrupt, whatever the shell makes its jobs in the background ignore."""

import signal
import sys

__all__ = ["HEARING", "INTERRUPTS", "interruptible"]

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HEARING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
from hnexport.cli.main import main
main()
"""


def interruptible(*arguments: object) -> list[str]:
    """The command line of `hnexport ARGUMENTS`."""
    return [sys.executable, "-c", HEARING, *map(str, arguments)]
