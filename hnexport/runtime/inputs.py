"""What a loaded ensemble accepts: images and members, checked before any runtime sees them."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown
from hnexport.runtime.arrays import as_array
from hnexport.spec import TensorSpec
from hnexport.text import shorten

__all__ = ["check_dtype", "check_images", "check_member", "check_members", "check_shape"]


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
        raise RuntimeInputError(f"a member is a whole number, found {shown(member)}; {existing}") from None
    if not 0 <= index < count:
        raise RuntimeInputError(f"member {shown(index)} does not exist: {existing}")
    return index


def check_members(members: Any, count: int) -> tuple[int, ...]:
    """The members as a tuple of ints: "all", or any iterable of members, in its order.

    Raises:
        RuntimeInputError: there are none, or one does not exist.
    """
    if isinstance(members, str):
        if members == "all":
            return tuple(range(count))
        raise RuntimeInputError(f"members must be 'all' or a list of numbers such as [0, 2], found {shown(members)}")
    if not isinstance(members, Iterable) or isinstance(members, bytes | bytearray) or getattr(members, "ndim", 1) == 0:
        raise RuntimeInputError(
            f"members must be 'all' or a list of numbers, found {shown(members)}; for one give member="
        )
    chosen = tuple(check_member(member, count) for member in members)
    if not chosen:
        raise RuntimeInputError("members is empty: name at least one member, or 'all'")
    return chosen


def check_images(images: Any, signature: TensorSpec) -> NDArray[Any]:
    """The images as a C-contiguous array of exactly the signature's dtype.

    Arrays, lists, and whatever has `__array__` or `__dlpack__` are taken; tensors that require gradients are detached,
    those on a device are copied from it, masked arrays are taken where nothing is masked.

    Only casts that lose nothing and leave the meaning alone are made: float16 and bfloat16 to float32, other byte
    orders, and Python's own numbers, which have no dtype. float64 arrays are refused (casting them is the caller's
    decision), and so are integers where the graph takes floats: pixel values 0 to 255 are not what such a network was
    trained on. NaN is passed on.

    Raises:
        RuntimeInputError: another dtype or shape, or an empty batch; the message says what was expected.
    """
    array = as_array(images, np.dtype(signature.dtype))
    check_dtype(array.dtype, signature)
    check_shape(array.shape, signature)
    return np.ascontiguousarray(array, dtype=signature.dtype)


def check_dtype(found: np.dtype[Any], signature: TensorSpec, subject: str = "images") -> None:
    """Refuse a dtype that is not the signature's and cannot become it without loss.

    Raises:
        RuntimeInputError: with `subject`, and what to do.
    """
    expected = np.dtype(signature.dtype)
    if np.can_cast(found, expected, "safe") and (found.kind == expected.kind or _is_small_float(found, expected)):
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
    elif found.kind == "O":
        hint = f" (Python objects); give an array of numbers, for instance np.asarray(images, dtype=np.{expected})"
    elif found == np.dtype("V2"):
        hint = "; if these are bfloat16, which .npy files do not name, save them as float32"
    else:
        hint = ""
    raise RuntimeInputError(f"{subject}: expected {expected}, found {shorten(found)}{hint}")


def _is_small_float(found: np.dtype[Any], expected: np.dtype[Any]) -> bool:
    """Of the kinds that ml_dtypes adds to NumPy: bfloat16, float8_e4m3 and the like; JAX gives such arrays."""
    return expected.kind == "f" and found.kind == "V" and found.name.startswith(("bfloat", "float"))


def check_shape(found: tuple[int, ...], signature: TensorSpec, subject: str = "images") -> None:
    """Refuse another shape than the signature's, and a batch without images.

    Raises:
        RuntimeInputError: with `subject`, and what to do.
    """
    expected = signature.shape
    sizes = tuple(size for size in expected[1:] if isinstance(size, int))
    axes = ", ".join(map(str, expected))
    if len(found) == len(expected) and found[1:] == sizes:
        if found[0] == 0:
            raise RuntimeInputError(f"{subject}: the batch is empty; give at least one image")
        return
    hint = ""
    if found == sizes:
        hint = "; for one image give images[np.newaxis]"
    elif len(found) == 4 and len(sizes) == 3 and sorted(found[1:]) == sorted(sizes):
        if found[1:] == (sizes[1], sizes[2], sizes[0]):
            hint = "; move the channels with images.transpose(0, 3, 1, 2)"
        elif found[1:] == (sizes[2], sizes[0], sizes[1]):
            hint = "; move the channels with images.transpose(0, 2, 3, 1)"
    elif len(found) == 3 and found in ((*sizes[1:], sizes[0]), (sizes[-1], *sizes[:-1])):
        moved = "(2, 0, 1)" if found == (*sizes[1:], sizes[0]) else "(1, 2, 0)"
        hint = f"; move the channels with images.transpose{moved}, and for one image add [np.newaxis]"
    raise RuntimeInputError(f"{subject}: expected shape [{axes}], found {shown(list(found))}{hint}")
