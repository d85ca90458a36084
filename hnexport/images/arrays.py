"""`.npy` files: the header is judged before a byte of the array is read."""

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.images.files import open_file, warnings_logged
from hnexport.runtime.inputs import check_dtype, check_input, check_shape
from hnexport.spec import TensorSpec
from hnexport.text import shorten

__all__ = ["ARCHIVE", "array_from", "array_rows", "array_shape", "array_slice", "read_array"]

ARCHIVE = b"PK\x03\x04"
"""How a `.npz` file begins."""
_LENGTH = {(1, 0): "<H", (2, 0): "<I"}  # of the header; 3.0 is for field names, which no input has
_LONGEST_HEADER = 10_000


def read_array(path: Path, tensor: TensorSpec) -> NDArray[Any]:
    """The input in the graph's dtype, from a `.npy` file that holds it, or one sample without the batch axis.

    Any byte order, C or Fortran order; dtypes as in `hnexport.runtime.inputs.check_input`. NaN is passed on.

    Raises:
        RuntimeInputError: the file cannot be read, holds less or more than its header says, or something that the graph
            does not take.
    """
    with open_file(path, "a .npy file") as file:
        return array_from(file, os.fstat(file.fileno()).st_size, tensor, str(path))


def array_from(
    file: IO[bytes], size_bytes: int, tensor: TensorSpec, subject: str, *, words: bool = False
) -> NDArray[Any]:
    """The same from an open file of `size_bytes` that can be sought; `subject` begins the messages.

    Args:
        words: the array may hold text instead, which is given as it is.
    """
    found, order, stored = _read_header(file, subject)
    if words and stored.kind == "U" and stored.itemsize:
        return _read_values(file, size_bytes - file.tell(), subject, found, stored).reshape(found, order=order)
    batch = _checked(found, stored, tensor, subject)
    values = _read_values(file, size_bytes - file.tell(), subject, found, stored)
    return check_input(values.reshape(batch, order=order), tensor)


def array_shape(file: IO[bytes], tensor: TensorSpec, subject: str) -> tuple[int, ...]:
    """The shape that `array_from` would give, by the header alone."""
    found, _, stored = _read_header(file, subject)
    return _checked(found, stored, tensor, subject)


def array_rows(file: IO[bytes], size_bytes: int, tensor: TensorSpec, subject: str, rows: int) -> Iterator[NDArray[Any]]:
    """What `array_from` gives, at most so many samples at a time. An array in Fortran order is read whole."""
    found, order, stored = _read_header(file, subject)
    batch = _checked(found, stored, tensor, subject)
    if order == "F" or found != batch:
        values = _read_values(file, size_bytes - file.tell(), subject, found, stored)
        whole = check_input(values.reshape(batch, order=order), tensor)
        yield from (whole[start : start + rows] for start in range(0, len(whole), rows))
        return
    _check_length(size_bytes - file.tell(), subject, found, stored)
    for start in range(0, found[0], rows):
        shape = (min(rows, found[0] - start), *found[1:])
        values = _read_values(file, math.prod(shape) * stored.itemsize, subject, shape, stored)
        yield check_input(values.reshape(shape), tensor)


def array_slice(
    file: IO[bytes], size_bytes: int, tensor: TensorSpec, subject: str, start: int, stop: int
) -> NDArray[Any]:
    """The samples from `start` to before `stop` of what `array_from` gives, and no other is read.

    Raises:
        RuntimeInputError: as `array_from`; or the array is in Fortran order, in which no sample lies together.
    """
    found, order, stored = _read_header(file, subject)
    batch = _checked(found, stored, tensor, subject)
    if order == "F" and len(batch) > 1:
        raise RuntimeInputError(
            f"{subject} is in Fortran order, in which its samples do not lie one after the other: save "
            "numpy.ascontiguousarray of it"
        )
    _check_length(size_bytes - file.tell(), subject, found, stored)
    row_bytes = math.prod(batch[1:]) * stored.itemsize
    file.seek(start * row_bytes, os.SEEK_CUR)
    shape = (stop - start, *batch[1:])
    return check_input(_read_values(file, (stop - start) * row_bytes, subject, shape, stored).reshape(shape), tensor)


def _checked(found: tuple[int, ...], stored: np.dtype[Any], tensor: TensorSpec, subject: str) -> tuple[int, ...]:
    """The shape with a batch axis, of what the graph takes."""
    batch = (1, *found) if _is_one_sample(found, tensor) else found
    if stored.hasobject:
        raise RuntimeInputError(f"{subject} holds pickled Python objects, which are never read: save numbers")
    check_dtype(stored, tensor, subject)
    check_shape(batch, tensor, subject)
    return batch


def _is_one_sample(found: tuple[int, ...], tensor: TensorSpec) -> bool:
    return (
        tensor.has_batch
        and len(found) == len(tensor.row)
        and all(isinstance(size, str) or size == have for size, have in zip(tensor.row, found, strict=True))
    )


def _read_header(file: IO[bytes], subject: str) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """Shape, "C" or "F", dtype; the file stands at the first byte of the array."""
    try:
        with warnings_logged(subject):
            version = npy.read_magic(file)
            _check_header_length(file, version)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # the parsers of Python and NumPy raise almost anything on damaged text
        reason = "it is a .npz archive; give a .npy file with one array" if _is_archive(file) else shorten(error)
        raise RuntimeInputError(f"{subject} cannot be read as a .npy file: {reason}") from error
    if any(isinstance(size, bool) or size < 0 for size in shape):
        raise RuntimeInputError(f"{subject} cannot be read as a .npy file: its shape is {shorten(shape)}")
    return shape, "F" if fortran else "C", dtype


def _check_header_length(file: IO[bytes], version: tuple[int, int]) -> None:
    """NumPy reads the header, up to 4 GiB, before it compares its length."""
    if version not in _LENGTH:
        raise ValueError(f"version {version[0]}.{version[1]} of the format holds no images")
    start, length_format = file.tell(), _LENGTH[version]
    (length,) = struct.unpack(length_format, file.read(struct.calcsize(length_format)))
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header is {length:,} bytes long, at most {_LONGEST_HEADER:,} are read")
    file.seek(start)


def _is_archive(file: IO[bytes]) -> bool:
    file.seek(0)
    return file.read(4) == ARCHIVE


def _read_values(
    file: IO[bytes], held: int, subject: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The numbers, flat."""
    count = _check_length(held, subject, shape, dtype)
    try:
        content = bytearray(held)  # an array over it can be written to
    except MemoryError as error:
        raise RuntimeInputError(f"{subject} needs {held:,} bytes of memory: give fewer samples at once") from error
    if file.readinto(content) != held:  # type: ignore[attr-defined]  # what opens files gives buffered readers
        raise RuntimeInputError(f"{subject} was cut while it was read")
    values: NDArray[Any] = np.frombuffer(content, dtype=dtype, count=count)
    return values


def _check_length(held: int, subject: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """How many numbers there are, in so many bytes."""
    count = 1
    for size in shape:  # Python's own numbers: NumPy's would wrap around
        count *= size
    if count * dtype.itemsize != held:
        which = "less" if count * dtype.itemsize > held else "more"
        raise RuntimeInputError(
            f"{subject} holds {which} than it says: {held:,} bytes after its header, for {dtype} "
            f"{shorten(list(shape))}; save it again"
        )
    return count
