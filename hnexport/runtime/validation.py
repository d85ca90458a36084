"""Checks of options' values."""

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown

__all__ = ["choice", "require_count", "require_flag", "require_number", "require_path", "require_threads"]

_MOST_THREADS = 4096  # more processors than a machine has; onnxruntime answers a billion with std::bad_alloc

Choice = TypeVar("Choice", bound=StrEnum)


def choice(name: str, kind: type[Choice], value: str) -> Choice:
    """The member of an enumeration with that value.

    Raises:
        RuntimeInputError: there is none; the message lists those there are.
    """
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(repr(member.value) for member in kind)
        raise RuntimeInputError(f"{name} must be one of {choices}, found {shown(value)}") from None


def require_count(name: str, value: object, least: int = 1) -> None:
    """Refuse what is not a whole number from `least`.

    Raises:
        RuntimeInputError: with the name of the option and what was found.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RuntimeInputError(f"{name} must be a whole number from {least}, found {shown(value)}")


def require_threads(name: str, value: object) -> None:
    """Refuse what is no number of threads.

    Raises:
        RuntimeInputError: with the name of the option and what was found.
    """
    require_count(name, value)
    if isinstance(value, int) and value > _MOST_THREADS:
        raise RuntimeInputError(f"{name} must be at most {_MOST_THREADS}, found {shown(value)}")


def require_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        RuntimeInputError: with the name of the option and what was found.
    """
    if not isinstance(value, bool):
        raise RuntimeInputError(f"{name} must be True or False, found {shown(value)}")


def require_number(name: str, value: object) -> None:
    """Refuse what is not a number: NaN too, with which every comparison fails.

    Raises:
        RuntimeInputError: with the name of the option and what was found.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise RuntimeInputError(f"{name} must be a number, found {shown(value)}")


def require_path(name: str, value: object) -> Path:
    """The path of a folder or file, from text or a path.

    Raises:
        RuntimeInputError: it is something else, such as the bytes of a file; the message says what to give.
    """
    given = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(given, str):
        raise RuntimeInputError(
            f"{name} must be a path such as 'here/it/is', found {type(value).__name__}: write what is in memory to "
            "disk first; a path in bytes becomes text with os.fsdecode"
        )
    if "\0" in given:
        raise RuntimeInputError(f"{name} must be a path, found text with a zero byte in it")
    return Path(given)
