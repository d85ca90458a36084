"""What is taken as the number of a member, everywhere: Python's and NumPy's integers, and scalars of integer arrays."""

import operator
from collections.abc import Iterable
from typing import Any

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown

__all__ = ["as_id", "check_member", "check_members"]

_LARGEST = 2**63  # a condition id is an int64


def as_id(value: Any) -> int:
    """A condition id as an int, whether or not there is such a member; see `check_member` for what is taken.

    Raises:
        RuntimeInputError: it is no whole number, or does not fit into int64.
    """
    index = _whole_number(value, "a condition id")
    if not -_LARGEST <= index < _LARGEST:
        raise RuntimeInputError(f"a condition id is an int64, found {shown(index)}")
    return index


def check_member(member: Any, count: int) -> int:
    """The member as an int.

    Whole numbers of Python and NumPy are taken, and arrays and tensors without an axis that hold one. Bools, floats and
    text are not, nor is an array with an axis, even of one element.

    Raises:
        RuntimeInputError: it is not a whole number from 0 to `count - 1`.
    """
    existing = f"this ensemble has members 0 to {count - 1}" if count > 1 else "this ensemble has only member 0"
    index = _whole_number(member, "a member", f"; {existing}")
    if not 0 <= index < count:
        raise RuntimeInputError(f"member {shown(index)} does not exist: {existing}")
    return index


def check_members(members: Any, count: int, called: str = "members") -> tuple[int, ...]:
    """The members as a tuple of ints: "all", or any iterable of members, in its order.

    Args:
        called: the argument's name, for messages.

    Raises:
        RuntimeInputError: there are none, or one does not exist.
    """
    if isinstance(members, str):
        if members == "all":
            return tuple(range(count))
        raise RuntimeInputError(f"{called} must be 'all' or a list of numbers such as [0, 2], found {shown(members)}")
    if not isinstance(members, Iterable) or isinstance(members, bytes | bytearray) or getattr(members, "ndim", 1) == 0:
        raise RuntimeInputError(
            f"{called} must be 'all' or a list of numbers, found {shown(members)}; for one give member="
        )
    chosen = tuple(check_member(member, count) for member in members)
    if not chosen:
        raise RuntimeInputError(f"{called} is empty: name at least one member, or 'all'")
    return chosen


def _whole_number(value: Any, called: str, hint: str = "") -> int:
    try:
        if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")) or getattr(value, "ndim", 0) != 0:
            raise TypeError
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # what tensors raise is up to their library
        raise RuntimeInputError(f"{called} is a whole number, found {shown(value)}{hint}") from None
