"""Files of Apache Arrow and Parquet, and what is wrong with them, said."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hnexport.errors import RuntimeInputError
from hnexport.images.files import open_file
from hnexport.text import shorten

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

__all__ = ["open_parquet", "said"]

_BUFFER_BYTES = 2**20


@contextmanager
def open_parquet(path: Path) -> "Iterator[ParquetFile]":
    """A Parquet file, read as it goes.

    Raises:
        RuntimeInputError: it cannot be read.
    """
    from pyarrow import parquet

    with said(path, "Parquet"), open_file(path, "Parquet") as file:
        yield parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)


@contextmanager
def said(path: Path, kind: str) -> Iterator[None]:
    """Whatever pyarrow finds wrong with a file is our error."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise RuntimeInputError(f"{path} cannot be read as {kind}: {shorten(error)}") from error
