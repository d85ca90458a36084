"""A `.npy` file: a row for each sample of the array, called by its number."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.images import AppliedNormalisation
from hnexport.images.arrays import array_shape, array_slice
from hnexport.images.files import open_file
from hnexport.score.files import check_same, file_fingerprint
from hnexport.score.samples import Row

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ArrayFile"]

_AT_ONCE = 32


class ArrayFile:
    """The array is read some rows at a time, from where they lie."""

    kind, identifier = "npy", ""
    normalised: AppliedNormalisation | None = None

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Read the header.

        Raises:
            RuntimeInputError: the network takes several inputs, or the file cannot be read or holds what it does not
                take.
        """
        inputs = manifest.signature.inputs
        if len(inputs) != 1:
            raise RuntimeInputError(f"{path} is one array, and this network takes {len(inputs)} inputs: give Parquet")
        self._path, self._tensor = path, inputs[0]
        self.fingerprint = file_fingerprint(path)  # before anything is read
        with open_file(path, "a .npy file") as file:
            self.rows = array_shape(file, self._tensor, str(path))[0]
        if not self.rows:
            raise RuntimeInputError(f"{path} holds no samples")
        next(self.read(0, 1))

    @property
    def id_type(self) -> "pyarrow.DataType":
        """Numbers."""
        import pyarrow as pa

        return pa.int64()

    def check(self) -> None:
        """As `Source.check`."""
        check_same(self._path, self.fingerprint)

    def read(self, start: int, stop: int) -> Iterator[Row]:
        """As `Source.read`."""
        for first in range(start, stop, _AT_ONCE):
            last = min(first + _AT_ONCE, stop)
            with open_file(self._path, "a .npy file") as file:
                size_bytes = os.fstat(file.fileno()).st_size
                array = array_slice(file, size_bytes, self._tensor, str(self._path), first, last)
            for number in range(first, last):
                yield Row(id=number, inputs={self._tensor.name: array[number - first : number - first + 1]})
