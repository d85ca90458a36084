"""The one writer of external data: values in a file, and tensors of ONNX files that refer to them.

Values are little-endian in row-major order and begin at a multiple of the page size, so that runtimes map the file into
memory instead of copying it.
"""

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from hnexport.hypernet.storage import ALIGNMENT_BYTES

__all__ = ["DataFile", "Span", "refer"]

Span = tuple[int, int]
"""Offset and length in bytes."""


class DataFile:
    """A file that tensors are written into, one after the other; a context manager."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = path.open("wb")

    def add(self, values: NDArray[np.generic]) -> Span:
        """Write an array, and say where it lies."""
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT_BYTES))
        offset = self._file.tell()
        self._file.write(np.ascontiguousarray(values).data)
        return offset, values.nbytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def refer(tensor: TensorProto, file: str, span: Span) -> None:
    """Let a tensor's values lie in a file beside its own."""
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", span[0]), ("length", span[1])):
        tensor.external_data.add(key=key, value=str(value))
