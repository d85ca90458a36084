"""What a loaded ensemble accepts: images and members, checked before any runtime sees them."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import TensorSignature
from hnexport.errors import RuntimeInputError

__all__ = ["check_images", "check_member", "check_members"]


def check_member(member: Any, count: int) -> int:
    """The member as an int.

    Raises:
        RuntimeInputError: it is not a whole number from 0 to `count - 1`.
    """
    existing = f"this ensemble has members 0 to {count - 1}" if count > 1 else "this ensemble has only member 0"
    try:
        if isinstance(member, bool | np.bool_):
            raise TypeError
        index = operator.index(member)
    except TypeError:
        raise RuntimeInputError(f"a member is a whole number, found {member!r}; {existing}") from None
    if not 0 <= index < count:
        raise RuntimeInputError(f"member {index} does not exist: {existing}")
    return index


def check_members(members: Any, count: int) -> tuple[int, ...]:
    """The members as a tuple of ints: "all", or any iterable of members, in its order.

    Raises:
        RuntimeInputError: there are none, or one does not exist.
    """
    if isinstance(members, str):
        if members == "all":
            return tuple(range(count))
        raise RuntimeInputError(f"members must be 'all' or a list of numbers such as [0, 2], found {members!r}")
    if not isinstance(members, Iterable):
        raise RuntimeInputError(f"members must be 'all' or a list of numbers, found {members!r}; for one give member=")
    chosen = tuple(check_member(member, count) for member in members)
    if not chosen:
        raise RuntimeInputError("members is empty: name at least one member, or 'all'")
    return chosen


def check_images(images: Any, signature: TensorSignature) -> NDArray[Any]:
    """The images as a C-contiguous array of exactly the signature's dtype.

    Only casts that lose nothing and leave the meaning alone are made: float16 to float32, and other byte orders.
    float64 is refused (casting it is the caller's decision), and so are integers where the graph takes floats: pixel
    values 0 to 255 are not what such a network was trained on.

    Raises:
        RuntimeInputError: another dtype or shape, or an empty batch; the message says what was expected.
    """
    array = np.asarray(images)
    _check_dtype(array.dtype, signature)
    _check_shape(array.shape, signature)
    return np.ascontiguousarray(array, dtype=signature.dtype)


def _check_dtype(found: np.dtype[Any], signature: TensorSignature) -> None:
    expected = np.dtype(signature.dtype)
    if found.kind == expected.kind and np.can_cast(found, expected, "safe"):
        return
    if expected.kind == "f" and found.kind == "f":
        hint = f"; cast them with images.astype(np.{expected})"
    elif expected.kind == "f" and found.kind in "ui":
        hint = (
            "; this graph takes preprocessed images: scale and normalise the pixels as in training, "
            "for instance (pixels / 255 - mean) / std"
        )
    elif expected.kind == "u" and found.kind == "f":
        hint = "; this graph normalises by itself: give it the pixels, 0 to 255"
    else:
        hint = ""
    raise RuntimeInputError(f"images: expected {expected}, found {found}{hint}")


def _check_shape(found: tuple[int, ...], signature: TensorSignature) -> None:
    expected = signature.shape
    sizes = tuple(size for size in expected[1:] if isinstance(size, int))
    axes = ", ".join(map(str, expected))
    if len(found) == len(expected) and found[1:] == sizes:
        if found[0] == 0:
            raise RuntimeInputError("images: the batch is empty; give at least one image")
        return
    hint = ""
    if found == sizes:
        hint = "; for one image give images[np.newaxis]"
    elif len(found) == 4 and len(sizes) == 3 and sorted(found[1:]) == sorted(sizes):
        if found[1:] == (sizes[1], sizes[2], sizes[0]):
            hint = "; move the channels with images.transpose(0, 3, 1, 2)"
        elif found[1:] == (sizes[2], sizes[0], sizes[1]):
            hint = "; move the channels with images.transpose(0, 2, 3, 1)"
    raise RuntimeInputError(f"images: expected shape [{axes}], found [{', '.join(map(str, found))}]{hint}")
