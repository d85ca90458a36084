"""Numbers between processes that do not trust each other: a JSON header and the bytes of arrays, never pickle.

A frame is the header's length (8 bytes, little-endian), the header, and the arrays' bytes in its order. A header has
`meta`, an object of text and numbers, and `arrays`, a list of `{"name", "dtype", "shape"}`.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "Frame", "FrameError", "frame_parts", "read_frame"]

Array = NDArray[np.generic]

DTYPES = tuple(
    np.dtype(name).name
    for name in (
        *("float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    )
)
_LENGTH = struct.Struct("<Q")
_HEADER_BYTES = 16 * 2**20
_MOST_ARRAYS = 200_000
_MOST_DIMENSIONS = 8


class FrameError(Exception):
    """What arrived is not a frame, or is larger than it may be."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A message: a few words, and named arrays in order; names may repeat."""

    meta: Mapping[str, Any] = field(default_factory=dict)
    arrays: tuple[tuple[str, Array], ...] = ()


def frame_parts(meta: Mapping[str, Any], arrays: Iterable[tuple[str, Array]] = ()) -> Iterator[memoryview]:
    """The bytes of a frame, in pieces; an array is not copied where it is contiguous.

    Raises:
        FrameError: an array has a dtype that is not among `DTYPES`.
    """
    held = [(name, np.asarray(array)) for name, array in arrays]
    wrong = next((f"{name} is {array.dtype}" for name, array in held if array.dtype.name not in DTYPES), None)
    if wrong is not None:
        raise FrameError(f"{wrong}, which cannot be sent; it must be one of {', '.join(DTYPES)}")
    listed = [{"name": name, "dtype": array.dtype.name, "shape": list(array.shape)} for name, array in held]
    header = json.dumps({"meta": dict(meta), "arrays": listed}).encode()
    yield memoryview(_LENGTH.pack(len(header)) + header)
    for _, array in held:
        if array.size:
            yield memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def read_frame(read: Callable[[int], bytes | bytearray], most_bytes: int) -> Frame:
    """Read one frame; nothing is allocated before its size is known to be allowed.

    Args:
        read: gives exactly so many bytes.
        most_bytes: the most that the arrays may hold together.

    Raises:
        FrameError: it is not a frame, or too large.
    """
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > _HEADER_BYTES:
        raise FrameError(f"its header claims {length} bytes")
    try:
        header = json.loads(bytes(read(length)).decode())
    except (ValueError, RecursionError) as error:
        raise FrameError("its header is not JSON") from error
    if not isinstance(header, dict) or set(header) != {"meta", "arrays"} or not isinstance(header["meta"], dict):
        raise FrameError("its header has other fields than meta and arrays")
    listed = header["arrays"]
    if not isinstance(listed, list) or len(listed) > _MOST_ARRAYS:
        raise FrameError("its list of arrays is none, or too long")
    described = [_described(item) for item in listed]
    total = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in described)
    if total > most_bytes:
        raise FrameError(f"its arrays claim {total} bytes, at most {most_bytes} are expected")
    arrays = []
    for name, dtype, shape in described:
        data = read(dtype.itemsize * math.prod(shape))
        if dtype == np.bool_:  # any other byte than 0 and 1 is no bool
            array: Array = np.frombuffer(data, np.uint8).reshape(shape) != 0
        else:
            array = np.frombuffer(data, dtype).reshape(shape)
        arrays.append((name, array))
    return Frame(meta=header["meta"], arrays=tuple(arrays))


def _described(item: Any) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    if not isinstance(item, dict) or set(item) != {"name", "dtype", "shape"}:
        raise FrameError("an array has other fields than name, dtype and shape")
    name, dtype, shape = item["name"], item["dtype"], item["shape"]
    if not isinstance(name, str) or dtype not in DTYPES:
        raise FrameError("an array has no name, or a dtype that is not allowed")
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise FrameError("an array's shape is not a short list")
    if not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise FrameError("an array's shape is not made of sizes")
    if math.prod(size for size in shape if size) >= 2**56:  # numpy refuses it, empty or not
        raise FrameError("an array's shape has too many elements")
    return name, np.dtype(dtype), tuple(shape)
