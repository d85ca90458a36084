"""One tensor of an ONNX file: where it lies, and what it holds.

An ONNX file may name any file, offset and shape for a tensor. Here a tensor's place is checked against the file that
it names before anything is allocated, and its values are mapped, not read. onnxruntime 1.31 and OpenVINO 2026.4 check
by themselves that a place lies in the model's own folder; they don't say which tensor is wrong in which way.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hnexport.errors import BundleError
from hnexport.names import LEGACY_SUPPLIED, SUPPLIED_FILE
from hnexport.reading import ReadError, is_plain_name, regular_size, shown

__all__ = ["FROM_LOADER", "Place", "check_inline", "is_external", "place", "tensor_values"]

FROM_LOADER = (SUPPLIED_FILE, LEGACY_SUPPLIED)  # the loader supplies what lies there
_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_BITS: Mapping[int, int] = MappingProxyType(
    {
        onnx.TensorProto.DataType.Value(name): bits
        for name, bits in (("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2), ("UINT2", 2))
        if name in onnx.TensorProto.DataType.keys()  # noqa: SIM118  # not a dict: newer versions have more
    }
)

Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an external tensor's values lie: little-endian, in row-major order."""

    file: Path
    offset_bytes: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    def read(self) -> Array:
        """The values, mapped into memory and read-only."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(self.file, self.dtype, "r", self.offset_bytes, self.shape)


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values lie in another file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def place(tensor: onnx.TensorProto, folder: Path, files: Collection[str] | None = None) -> Place | None:
    """Where an external tensor lies; None for one that the loader supplies.

    Args:
        folder: of the ONNX file.
        files: as in `check_model`.

    Raises:
        BundleError: the place is outside the folder or the file, or does not fit the tensor's dtype and shape.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{folder}: tensor {shown(tensor.name)}"
    location = entries.get("location", "")
    if location in FROM_LOADER:
        return None
    if not _is_inside(location, files):
        raise BundleError(
            f"{where} lies in {shown(location)}, which is no file of this folder that belongs to the model"
        )
    dtype, shape, length = _dtype(tensor, where), _shape(tensor, where), _size_bytes(tensor, where)
    offset, stated = (_number(entries, key, where) for key in ("offset", "length"))
    if stated is not None and stated != length:
        raise BundleError(f"{where} of shape {list(shape)} takes {length} bytes, its place has {stated}")
    try:
        size = regular_size(folder / location)
    except ReadError as error:
        raise BundleError(f"{where}: {error}; copy or build it again") from error
    if (offset or 0) + length > size:
        raise BundleError(
            f"{where} ends at byte {(offset or 0) + length}, {location} has {size}; copy or build it again"
        )
    return Place(file=folder / location, offset_bytes=offset or 0, dtype=dtype, shape=shape)


def tensor_values(tensor: onnx.TensorProto, path: Path, files: Collection[str] | None = None) -> Array | None:
    """The values of a tensor of the ONNX file at `path`: mapped where they are external, None where they are supplied.

    Raises:
        BundleError: as `place`, or the values in the file do not fit the tensor's shape.
    """
    if is_external(tensor):
        found = place(tensor, path.parent, files)
        return None if found is None else found.read()
    check_inline(tensor, path)
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # onnx and numpy have several
        raise BundleError(f"{path}: tensor {shown(tensor.name)} cannot be read: {error}") from error


def check_inline(tensor: onnx.TensorProto, path: Path) -> None:
    """Compare the size of raw values with the shape; values in typed fields are at least as large as they say."""
    where = f"{path}: tensor {shown(tensor.name)}"
    if tensor.HasField("raw_data"):
        expected = _size_bytes(tensor, where)
        if len(tensor.raw_data) != expected:
            raise BundleError(
                f"{where} of shape {shown(list(tensor.dims))} takes {expected} bytes, the file holds "
                f"{len(tensor.raw_data)}"
            )
        return
    held = sum(len(getattr(tensor, name)) for name in _TYPED_FIELDS)
    if math.prod(_shape(tensor, where)) > 8 * held:  # up to eight numbers are packed into one
        raise BundleError(f"{where} of shape {shown(list(tensor.dims))} has {held} values in the file")


def _is_inside(location: str, files: Collection[str] | None) -> bool:
    if files is not None:
        return is_plain_name(location) and location in files
    parts = PurePosixPath(location).parts
    return bool(parts) and all(is_plain_name(part) for part in parts)


def _dtype(tensor: onnx.TensorProto, where: str) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, ValueError, TypeError):
        dtype = np.dtype(object)
    if dtype.hasobject:
        raise BundleError(f"{where} has the dtype {tensor.data_type}, which is none of numbers")
    return dtype.newbyteorder("<")


def _shape(tensor: onnx.TensorProto, where: str) -> tuple[int, ...]:
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise BundleError(f"{where} has the shape {shown(list(shape))}, expected sizes of at least 0")
    return shape


def _size_bytes(tensor: onnx.TensorProto, where: str) -> int:
    bits = _BITS.get(tensor.data_type)
    elements = math.prod(_shape(tensor, where))
    return -(-elements * bits // 8) if bits is not None else elements * _dtype(tensor, where).itemsize


def _number(entries: Mapping[str, str], key: str, where: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BundleError(f"{where} has the {key} {shown(text)}, expected a number of bytes")
    return int(text)
