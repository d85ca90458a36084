"""Whatever people hand over as images, as a NumPy array that holds the same numbers, or a reason why not."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.text import shorten

__all__ = ["as_array"]

_MOST_AXES = 8  # of nested lists; images have at most four


def as_array(images: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The same numbers as an array; its dtype and shape are still to be checked.

    Args:
        dtype: what the graph takes: Python's own numbers, which have no dtype, become it where they fit.

    Raises:
        RuntimeInputError: this is no array, or NumPy cannot read it.
    """
    return _as_array(images, dtype, 0)


def _as_array(images: Any, dtype: np.dtype[Any], depth: int) -> NDArray[Any]:
    _refuse_what_is_no_array(images)
    if depth > _MOST_AXES:
        raise RuntimeInputError("images: these lists are nested more deeply than the axes of any image")
    try:
        if isinstance(images, np.ma.MaskedArray):
            return _unmasked(images)
        if isinstance(images, list | tuple):
            return _from_list(images, dtype, depth)
        if hasattr(images, "detach") and hasattr(images, "cpu"):
            return _from_tensor(images)
        if hasattr(images, "__dlpack__") and not hasattr(images, "__array__"):
            return np.from_dlpack(images)
        return np.asarray(images)
    except RuntimeInputError:
        raise
    except Exception as error:  # `__array__` and `__dlpack__` are other libraries' code
        kind = f"{type(images).__module__}.{type(images).__qualname__}".removeprefix("builtins.")
        raise RuntimeInputError(
            f"images: NumPy cannot read this {kind}: {shorten(error)}; give a NumPy array of {dtype}"
        ) from error


def _refuse_what_is_no_array(images: Any) -> None:
    kind = type(images).__name__
    if isinstance(images, bytes | bytearray):
        hint = "say what the bytes are: np.frombuffer(images, dtype).reshape(shape)"
    elif isinstance(images, str | os.PathLike):
        hint = "read picture files with hnexport.images.read_images, arrays with np.load"
    elif hasattr(images, "getbands") and hasattr(images, "tobytes"):  # PIL.Image.Image
        kind = "picture (PIL)"
        hint = "hnexport.images.read_images reads picture files; or give the array that training would make of it"
    elif isinstance(images, Mapping):
        hint = "give one of its arrays"
    elif isinstance(images, set | frozenset | Iterator):
        hint = "give a list or an array"
    elif images is None:
        kind, hint = "None", "give an array"
    else:
        return
    raise RuntimeInputError(f"images: expected an array, found {kind}; {hint}")


def _unmasked(images: np.ma.MaskedArray[Any, Any]) -> NDArray[Any]:
    if np.ma.is_masked(images):
        raise RuntimeInputError(
            "images: some elements are masked, so they have no value; give them one with images.filled(value)"
        )
    return np.asarray(images.data)


def _from_tensor(tensor: Any) -> NDArray[Any]:
    """A tensor of torch or what behaves like one, which requires gradients, is on a device, or has no NumPy dtype."""
    tensor = tensor.detach().cpu()
    small = hasattr(tensor, "is_floating_point") and tensor.is_floating_point() and tensor.element_size() < 4
    if small and str(tensor.dtype).rpartition(".")[2] != "float16":
        tensor = tensor.float()  # exact: bfloat16, float8
    for resolve in ("resolve_conj", "resolve_neg"):
        tensor = getattr(tensor, resolve, lambda same=tensor: same)()
    return np.asarray(tensor)


def _from_list(images: list[Any] | tuple[Any, ...], dtype: np.dtype[Any], depth: int) -> NDArray[Any]:
    if images and not isinstance(images[0], int | float | np.generic):
        array = np.stack([_as_array(one, dtype, depth + 1) for one in images])
    else:
        array = np.asarray(images)
    return _where_it_fits(array, dtype) if depth == 0 and _are_numbers(images) else array


def _are_numbers(images: Any) -> bool:
    """Whether these are Python's own numbers, in lists."""
    return all(_are_numbers(one) if isinstance(one, list | tuple) else type(one) in (int, float) for one in images)


def _where_it_fits(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """As NumPy treats Python's own numbers beside an array: floats become any float, integers those that hold them."""
    if array.dtype.kind == dtype.kind == "f":
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        return cast if np.array_equal(np.isfinite(cast), np.isfinite(array)) else array
    if array.dtype.kind == "i" and dtype.kind == "u" and array.size:
        limits = np.iinfo(dtype)
        return array.astype(dtype) if limits.min <= array.min() and array.max() <= limits.max else array
    return array
