"""`.npy` files: the header is judged before a byte of the array is read."""

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.images.files import open_file, warnings_logged
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.runtime.inputs import check_dtype, check_input, check_shape
from hnexport.spec import TensorSpec
from hnexport.text import shorten

__all__ = ["read_array"]

_LENGTH = {(1, 0): "<H", (2, 0): "<I"}  # of the header; 3.0 is for field names, which no image has
_LONGEST_HEADER = 10_000


def read_array(path: Path, spec: PipelineSpec) -> NDArray[Any]:
    """`[batch, …]` in the graph's dtype, from a `.npy` file that holds one image or several.

    Any byte order, C or Fortran order; dtypes as in `hnexport.runtime.inputs.check_input`. NaN is passed on.

    Raises:
        RuntimeInputError: the file cannot be read, holds less or more than its header says, or something that the graph
            does not take.
    """
    dtype, shape = spec.image_input
    signature = TensorSpec(name="images", dtype=dtype, shape=("batch", *shape))
    with open_file(path, "a .npy file") as file:
        found, order, stored = _read_header(file, path)
        batch = (1, *found) if found == shape else found
        if stored.hasobject:
            raise RuntimeInputError(f"{path} holds pickled Python objects, which are never read: save numbers")
        check_dtype(stored, signature, str(path))
        check_shape(batch, signature, str(path))
        values = _read_values(file, path, found, stored)
    return check_input(values.reshape(batch, order=order), signature)


def _read_header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """Shape, "C" or "F", dtype; the file stands at the first byte of the array."""
    try:
        with warnings_logged(path):
            version = npy.read_magic(file)
            _check_header_length(file, version)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # the parsers of Python and NumPy raise almost anything on damaged text
        reason = "it is a .npz archive; give a .npy file with one array" if _is_archive(file) else shorten(error)
        raise RuntimeInputError(f"{path} cannot be read as a .npy file: {reason}") from error
    if any(isinstance(size, bool) or size < 0 for size in shape):
        raise RuntimeInputError(f"{path} cannot be read as a .npy file: its shape is {shorten(shape)}")
    return shape, "F" if fortran else "C", dtype


def _check_header_length(file: BinaryIO, version: tuple[int, int]) -> None:
    """NumPy reads the header, up to 4 GiB, before it compares its length."""
    if version not in _LENGTH:
        raise ValueError(f"version {version[0]}.{version[1]} of the format holds no images")
    start, layout = file.tell(), _LENGTH[version]
    (length,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header is {length:,} bytes long, at most {_LONGEST_HEADER:,} are read")
    file.seek(start)


def _is_archive(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


def _read_values(file: BinaryIO, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers, flat."""
    count = 1
    for size in shape:  # Python's own numbers: NumPy's would wrap around
        count *= size
    held = os.fstat(file.fileno()).st_size - file.tell()
    if count * dtype.itemsize != held:
        which = "less" if count * dtype.itemsize > held else "more"
        raise RuntimeInputError(
            f"{path} holds {which} than it says: {held:,} bytes after its header, for {dtype} {shorten(list(shape))}; "
            "save it again"
        )
    try:
        values: NDArray[Any] = np.fromfile(file, dtype=dtype, count=count)
    except MemoryError as error:
        raise RuntimeInputError(f"{path} needs {held:,} bytes of memory: give fewer images at once") from error
    if values.size != count:
        raise RuntimeInputError(f"{path} was cut while it was read")
    return values
