"""Interrupts that stay interrupts: whoever pressed Ctrl-C does not want to read what a library made of it."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Interrupted", "interrupts_kept"]


class Interrupted(SystemExit):
    """A signal asked the command to end; `code` is the exit code."""


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise an interrupt that something turned into an error of its own, as the interrupt that it was.

    C extensions do that while they are imported: to pybind11 whatever ends the import is an `ImportError`
    ("initialization failed"), which would be taken for a broken installation.

    Raises:
        KeyboardInterrupt, SystemExit: one of them led to the error that ended the body.
    """
    try:
        yield
    except Exception as error:
        interrupt = _behind(error)
        if interrupt is None:
            raise
        raise interrupt from None


def _behind(error: BaseException) -> BaseException | None:
    """The interrupt among what led to an error."""
    cause, seen = error.__cause__ or error.__context__, {id(error)}
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, KeyboardInterrupt | SystemExit):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return None
