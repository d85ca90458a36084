"""What the command's exit codes mean: one table, for every command.

A script may rely on 1: it says that something was computed and differs, and nothing else ever gives it.
"""

from typing import Final

__all__ = ["DIFFERENT", "READER_GONE", "UNANSWERED", "VERDICTS", "YES", "of_signal"]

YES: Final = 0
"""Yes, the same, done."""

DIFFERENT: Final = 1
"""Measured, and other than it has to be: the answer of `verify`, `locate` and `--replay`, and of every command that
published nothing for that reason (`hnexport.errors.DifferentError`)."""

UNANSWERED: Final = 2
"""No answer: bad usage, damaged input, a missing provider, no room for output, a contradiction, a fault of ours."""

READER_GONE: Final = 141
"""Whoever read standard output has gone: what a shell says of a program that SIGPIPE ended (128 + 13)."""

VERDICTS: Final = {"same": YES, "different": DIFFERENT, "unanswered": UNANSWERED}
"""By a parity report's verdict."""


def of_signal(number: int) -> int:
    """What a shell says of a program that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number
