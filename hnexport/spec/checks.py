"""Small checks that specifications share."""

from collections.abc import Iterable
from enum import StrEnum

from hnexport.errors import SpecError

__all__ = ["require", "require_kind", "require_positive", "require_tuple"]


def require(condition: bool, message: str) -> None:
    """Raise a SpecError with `message` unless `condition` holds."""
    if not condition:
        raise SpecError(message)


def require_positive(what: str, values: Iterable[int]) -> None:
    """Whole numbers of at least 1."""
    for value in values:
        require(type(value) is int, f"{what} must be a whole number, found {value!r}")
        require(value >= 1, f"{what} must be at least 1, found {value}")


def require_tuple(what: str, value: object) -> None:
    """A list would be neither hashable nor equal to what comes back from JSON."""
    require(isinstance(value, tuple), f"{what} must be a tuple, found {value!r}")


def require_kind(what: str, value: object, kind: type[StrEnum]) -> None:
    """A plain string equals its enum member but is not it: `is` would silently take the other branch."""
    choices = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
    require(isinstance(value, kind), f"{what} must be one of {choices}; found {value!r}")
