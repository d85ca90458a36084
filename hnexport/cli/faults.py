"""From whatever ends a command to an exit code and, where there is something to say, one message."""

import logging
import traceback
from collections.abc import Callable

import click

from hnexport.cli.exit_codes import DIFFERENT, UNANSWERED, YES, of_signal
from hnexport.cli.output import output_failed, tell
from hnexport.errors import DifferentError, HnexportError
from hnexport.interrupts import interrupts_kept

__all__ = ["exit_code", "told", "verbose"]

_LONGEST = 2000
_INTERRUPT = 2  # SIGINT, on every system


class _Told(click.ClickException):
    """An error of ours on its way out of click: no answer."""

    exit_code = UNANSWERED


class _ToldDifferent(_Told):
    """Something was measured, and is different."""

    exit_code = DIFFERENT


def told(error: HnexportError) -> _Told:
    """The same error with its exit code, for click."""
    return (_ToldDifferent if isinstance(error, DifferentError) else _Told)(str(error))


def verbose() -> bool:
    """Whether `-v` was given."""
    return logging.getLogger().isEnabledFor(logging.INFO)


def exit_code(command: Callable[[], object]) -> int:
    """Run a command; nothing gets through but its exit code.

    What was not foreseen is called a fault of hnexport, and its code is that of every question without an answer: 1 is
    kept for what was measured and is different.
    """
    try:
        with interrupts_kept():
            command()
    except SystemExit as end:
        return _asked(end.code)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        return of_signal(_INTERRUPT)
    except BaseException as error:  # libraries in Rust panic with what is no `Exception`
        if not output_failed():  # `output.finish` says that
            _explain(error)
            if verbose() and not isinstance(error, click.ClickException):
                tell("".join(traceback.format_exception(error)))
        return DIFFERENT if isinstance(error, DifferentError | _ToldDifferent) else UNANSWERED
    return YES


def _asked(code: object) -> int:
    """The code of a `SystemExit`; one with a text is somebody else's."""
    if code is None:
        return YES
    if isinstance(code, int):
        return code
    tell(f"Error: {code}")
    return UNANSWERED


def _explain(error: BaseException) -> None:
    if isinstance(error, click.UsageError):
        _explain_usage(error)
    elif isinstance(error, click.ClickException):
        tell(f"Error: {error.format_message()}")
    elif isinstance(error, HnexportError):
        tell(f"Error: {error}")
    elif isinstance(error, MemoryError):
        tell(f"Error: there is not enough memory for this{_said(error)}")
    elif isinstance(error, RecursionError):
        tell("Error: the input is nested too deeply to be read")
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        tell(f"Error: {where}{error.strerror}")
    else:
        again = "the traceback is below" if verbose() else "`hnexport -v COMMAND …` shows the traceback"
        tell(f"Error: this is a fault of hnexport, please report it ({again}): {type(error).__name__}{_said(error)}")


def _explain_usage(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        for line in error.format_message().split("\n"):
            tell(line)
        return
    if error.ctx is not None:
        for line in error.ctx.get_usage().split("\n"):
            tell(line)
        tell(f"Try '{error.ctx.command_path} --help' for help.")
        tell("")
    tell(f"Error: {error.format_message()}")


def _said(error: BaseException) -> str:
    said = str(error)
    return "" if not said else f": {said[:_LONGEST]}…" if len(said) > _LONGEST else f": {said}"
