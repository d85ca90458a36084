"""How an option is spelled: in Python its argument, in a command its flag. Errors name what the reader can type.

Standard library only.
"""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["in_command", "spelled"]

_commands: list[None] = []  # one for each command that runs in this process, whatever thread asks


def spelled(argument: str, flag: str) -> str:
    """The option as whoever called can give it: `force=True` from Python, `--force` in a command."""
    return flag if _commands else argument


@contextmanager
def in_command() -> Iterator[None]:
    """Options are spelled as flags in the body."""
    _commands.append(None)
    try:
        yield
    finally:
        _commands.pop()
