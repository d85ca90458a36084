"""Whatever people hand over as samples, as a NumPy array that holds the same numbers, or a reason why not."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.text import shorten

__all__ = ["Wanted", "as_array"]

_MOST_AXES = 8  # of nested lists; images have at most four, and few networks take more than six


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to become of what was given, and what it is called in messages.

    Attributes:
        dtype: what the graph takes: Python's own numbers, which have no dtype, become it where they fit.
        subject: how messages begin.
        name: of a variable that holds it, in advice.
        whole_become_floats: whether Python's whole numbers may; pixel values are not what an image network takes.
    """

    dtype: np.dtype[Any]
    subject: str
    name: str
    whole_become_floats: bool


def as_array(given: Any, wanted: Wanted) -> NDArray[Any]:
    """The same numbers as an array; its dtype and shape are still to be checked.

    Raises:
        RuntimeInputError: this is no array, or NumPy cannot read it.
    """
    try:
        return _as_array(given, wanted, 0)
    except RuntimeInputError as error:
        raise RuntimeInputError(f"{wanted.subject}: {error}") from error.__cause__


def _as_array(given: Any, wanted: Wanted, depth: int) -> NDArray[Any]:
    _refuse_what_is_no_array(given, wanted.name)
    if depth > _MOST_AXES:
        raise RuntimeInputError(f"these lists are nested more than {_MOST_AXES} deep: give a NumPy array")
    try:
        if isinstance(given, np.ma.MaskedArray):
            return _unmasked(given, wanted.name)
        if isinstance(given, list | tuple):
            return _from_list(given, wanted, depth)
        if hasattr(given, "detach") and hasattr(given, "cpu"):
            return _from_tensor(given)
        if hasattr(given, "__dlpack__") and not hasattr(given, "__array__"):
            return np.from_dlpack(given)
        return np.asarray(given)
    except RuntimeInputError:
        raise
    except Exception as error:  # `__array__` and `__dlpack__` are other libraries' code
        kind = f"{type(given).__module__}.{type(given).__qualname__}".removeprefix("builtins.")
        raise RuntimeInputError(
            f"NumPy cannot read this {kind}: {shorten(error)}; give a NumPy array of {wanted.dtype}"
        ) from error


def _refuse_what_is_no_array(given: Any, name: str) -> None:
    kind = type(given).__name__
    if isinstance(given, bytes | bytearray):
        hint = f"say what the bytes are: np.frombuffer({name}, dtype).reshape(shape)"
    elif isinstance(given, str | os.PathLike):
        hint = "read picture files with hnexport.images.read_images, arrays with np.load"
    elif hasattr(given, "getbands") and hasattr(given, "tobytes"):  # PIL.Image.Image
        kind = "picture (PIL)"
        hint = "hnexport.images.read_images reads picture files; or give the array that training would make of it"
    elif isinstance(given, Mapping):
        hint = "give one of its arrays"
    elif isinstance(given, set | frozenset | Iterator):
        hint = "give a list or an array"
    elif given is None:
        kind, hint = "None", "give an array"
    else:
        return
    raise RuntimeInputError(f"expected an array, found {kind}; {hint}")


def _unmasked(given: np.ma.MaskedArray[Any, Any], name: str) -> NDArray[Any]:
    if np.ma.is_masked(given):
        raise RuntimeInputError(
            f"some elements are masked, so they have no value; give them one with {name}.filled(value)"
        )
    return np.asarray(given.data)


def _from_tensor(tensor: Any) -> NDArray[Any]:
    """A tensor of torch or what behaves like one, which requires gradients, is on a device, or has no NumPy dtype."""
    tensor = tensor.detach().cpu()
    small = hasattr(tensor, "is_floating_point") and tensor.is_floating_point() and tensor.element_size() < 4
    if small and str(tensor.dtype).rpartition(".")[2] != "float16":
        tensor = tensor.float()  # exact: bfloat16, float8
    for resolve in ("resolve_conj", "resolve_neg"):
        tensor = getattr(tensor, resolve, lambda same=tensor: same)()
    return np.asarray(tensor)


def _from_list(given: list[Any] | tuple[Any, ...], wanted: Wanted, depth: int) -> NDArray[Any]:
    if given and not isinstance(given[0], int | float | np.generic):
        array = np.stack([_as_array(one, wanted, depth + 1) for one in given])
    else:
        array = np.asarray(given)
    return _where_it_fits(array, wanted) if depth == 0 and _are_numbers(given) else array


def _are_numbers(given: Any) -> bool:
    """Whether these are Python's own numbers, in lists."""
    return all(_are_numbers(one) if isinstance(one, list | tuple) else type(one) in (int, float) for one in given)


def _where_it_fits(array: NDArray[Any], wanted: Wanted) -> NDArray[Any]:
    """As NumPy treats Python's own numbers beside an array: floats become any float, integers those that hold them."""
    dtype = wanted.dtype
    floats = "fi" if wanted.whole_become_floats else "f"
    if dtype.kind == "f" and array.dtype.kind in floats:
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        return cast if np.array_equal(np.isfinite(cast), np.isfinite(array)) else array
    if array.dtype.kind == "i" and dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        return array.astype(dtype) if limits.min <= array.min() and array.max() <= limits.max else array
    return array
