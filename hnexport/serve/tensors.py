"""Tensors as the Open Inference Protocol writes them: in JSON, row by row, or as bytes in little-endian order."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.reading import shown
from hnexport.serve.refusal import RefusedError

__all__ = ["DATATYPES", "NAMES", "as_json_numbers", "from_bytes", "from_json", "shape_of", "to_bytes"]

DATATYPES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool",
        "UINT8": "uint8",
        "UINT16": "uint16",
        "UINT32": "uint32",
        "UINT64": "uint64",
        "INT8": "int8",
        "INT16": "int16",
        "INT32": "int32",
        "INT64": "int64",
        "FP16": "float16",
        "FP32": "float32",
        "FP64": "float64",
    }
)
"""NumPy's dtypes by the protocol's names; BYTES and BF16 are not among them."""
NAMES: Mapping[str, str] = MappingProxyType({dtype: name for name, dtype in DATATYPES.items()})
"""The protocol's names by NumPy's."""
_MOST_AXES = 16
_LARGEST_SIZE = 2**31
_MOST_ELEMENTS = 2**56
"""Of a shape, where an empty axis counts as 1: NumPy has no arrays whose bytes 63 bits cannot count."""


def shape_of(value: Any, name: str) -> tuple[int, ...]:
    """A shape, of whole numbers.

    Raises:
        RefusedError: it is something else.
    """
    if not isinstance(value, list) or len(value) > _MOST_AXES:
        raise RefusedError(400, f"{name}: shape must be a list of at most {_MOST_AXES} sizes, found {shown(value)}")
    for size in value:
        if type(size) is not int or not 0 <= size <= _LARGEST_SIZE:
            raise RefusedError(400, f"{name}: a size of the shape is a whole number from 0, found {shown(size)}")
    if math.prod(max(size, 1) for size in value) > _MOST_ELEMENTS:
        raise RefusedError(400, f"{name}: no tensor has the shape {shown(value)}")
    return tuple(value)


def from_bytes(data: memoryview, datatype: str, shape: Sequence[int], name: str) -> NDArray[Any]:
    """A tensor of its bytes.

    Raises:
        RefusedError: they are not as many as the shape says.
    """
    dtype = _dtype(datatype, name)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise RefusedError(400, f"{name}: {datatype} of shape {list(shape)} has {expected} bytes, found {len(data)}")
    if dtype.kind == "b" and (np.frombuffer(data, np.uint8) > 1).any():
        raise RefusedError(400, f"{name}: a BOOL is a byte 0 or 1")
    found = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False)
    return (found if found.flags.aligned else found.copy()).reshape(shape)


def from_json(data: Any, datatype: str, shape: Sequence[int], name: str) -> NDArray[Any]:
    """A tensor of numbers in a list, flat or nested as the shape says; null is NaN where it is floating-point.

    Raises:
        RefusedError: they are other numbers than the datatype has, or not as many as the shape says.
    """
    dtype = _dtype(datatype, name)
    if not isinstance(data, list):
        raise RefusedError(400, f"{name}: data must be a list, found {shown(data)}")
    found = as_array(data, dtype, name)
    if found.size != math.prod(shape) or (found.ndim > 1 and found.shape != tuple(shape)):
        raise RefusedError(400, f"{name}: data of shape {shown(list(found.shape))} for a tensor of shape {list(shape)}")
    return found.reshape(shape)


def as_array(data: Any, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Nested lists of JSON as an array of exactly this dtype.

    Raises:
        RefusedError: they are ragged, or hold what the dtype does not.
    """
    try:
        found = np.asarray(data)
        if found.dtype.kind == "O" and dtype.kind == "f" and _only_numbers(data):
            found = np.asarray(data, dtype=np.float64)  # None becomes NaN
    except (ValueError, TypeError, OverflowError):
        raise RefusedError(400, f"{name}: the lists in it have different lengths, or do not hold numbers") from None
    if "b" not in (found.dtype.kind, dtype.kind) and _holds_booleans(data):  # NumPy takes true for 1 beside numbers
        raise RefusedError(400, f"{name}: expected {_said(dtype)}, found true or false among others")
    if found.dtype.kind not in {"b": "b", "f": "fiu"}.get(dtype.kind, "iu") and found.size:
        raise RefusedError(400, f"{name}: expected {_said(dtype)}, found others")
    if dtype.kind in "iu" and found.size:
        limits = np.iinfo(dtype)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise RefusedError(400, f"{name}: a number does not fit into {dtype}")
    with np.errstate(over="ignore"):
        cast = found.astype(dtype)
    if dtype.kind == "f" and not np.array_equal(np.isfinite(cast), np.isfinite(found.astype(np.float64))):
        raise RefusedError(400, f"{name}: a number is too large for {dtype}")
    return cast


def to_bytes(array: NDArray[Any]) -> bytes:
    """The bytes of a tensor."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def as_json_numbers(array: NDArray[Any]) -> Any:
    """Nested lists of Python's numbers, each of which is read back as it was; null for what JSON cannot say."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    found = array.astype(np.float64).astype(object)
    found[~np.isfinite(array)] = None
    return found.tolist()


def _dtype(datatype: Any, name: str) -> np.dtype[Any]:
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise RefusedError(400, f"{name}: datatype must be one of {', '.join(DATATYPES)}, found {shown(datatype)}")
    return np.dtype(DATATYPES[datatype])


def _only_numbers(data: Any) -> bool:
    pending = [data]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif item is not None and type(item) not in (int, float):
            return False
    return True


def _holds_booleans(data: Any) -> bool:
    pending = [data] if isinstance(data, list) else []
    while pending:
        item = pending.pop()
        kinds = set(map(type, item))
        if bool in kinds:
            return True
        if list in kinds:
            pending.extend(inner for inner in item if type(inner) is list)
    return False


def _said(dtype: np.dtype[Any]) -> str:
    return {"b": "true and false", "f": "numbers"}.get(dtype.kind, "whole numbers")
