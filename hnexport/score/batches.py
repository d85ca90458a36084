"""Record batches of Parquet and Arrow files, from any row on."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hnexport.datasets.files import open_parquet, said
from hnexport.errors import RuntimeInputError
from hnexport.images.files import open_file

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ArrowBatches", "ParquetBatches", "RecordBatches"]

_AT_ONCE = 32


class RecordBatches(Protocol):
    """A file of record batches; `schema` and `rows` are those of all together."""

    schema: "pyarrow.Schema"
    rows: int

    def batches(self, start: int, columns: Sequence[str]) -> "Iterator[tuple[int, pyarrow.RecordBatch]]":
        """Batches and the numbers of their first rows; the first of them holds row `start`."""
        ...


class ParquetBatches:
    """A Parquet file, of which row groups can be reached and are streamed."""

    def __init__(self, path: Path) -> None:
        """Read the footer.

        Raises:
            RuntimeInputError: it cannot be read.
        """
        self._path = path
        with open_parquet(path) as file:
            self.schema, held = file.schema_arrow, file.metadata
            groups = [held.row_group(number).num_rows for number in range(held.num_row_groups)]
        self._starts = [0, *itertools.accumulate(groups)]
        self.rows = self._starts[-1]

    def batches(self, start: int, columns: Sequence[str]) -> "Iterator[tuple[int, pyarrow.RecordBatch]]":
        """As `RecordBatches.batches`."""
        group = max(number for number, first in enumerate(self._starts) if first <= start)
        at = self._starts[group]
        groups = range(group, len(self._starts) - 1)
        with open_parquet(self._path) as file:
            for batch in file.iter_batches(_AT_ONCE, row_groups=groups, columns=list(columns), use_threads=False):
                if at + len(batch) > start:
                    yield at, batch
                at += len(batch)


class ArrowBatches:
    """An Arrow IPC file or stream; of a stream all that lies before is passed over."""

    def __init__(self, path: Path) -> None:
        """Count the rows.

        Raises:
            RuntimeInputError: it cannot be read.
        """
        self._path = path
        with said(path, "Arrow"), open_file(path, "Arrow") as file:
            reader = _reader(file, ())
            self.schema = reader.schema
        if not self.schema.names:
            raise RuntimeInputError(f"{path} holds no columns")
        with said(path, "Arrow"), open_file(path, "Arrow") as file:
            self._starts = [
                0,
                *itertools.accumulate(len(batch) for batch in _each(_reader(file, [0]), 0)),
            ]
        self.rows = self._starts[-1]

    def batches(self, start: int, columns: Sequence[str]) -> "Iterator[tuple[int, pyarrow.RecordBatch]]":
        """As `RecordBatches.batches`."""
        first = max(number for number, row in enumerate(self._starts) if row <= start)
        fields = [self.schema.get_field_index(name) for name in columns]
        with said(self._path, "Arrow"), open_file(self._path, "Arrow") as file:
            for number, batch in enumerate(_each(_reader(file, fields), first), start=first):
                for offset in range(0, len(batch), _AT_ONCE):
                    at = self._starts[number] + offset
                    part = batch.slice(offset, _AT_ONCE)
                    if at + len(part) > start:
                        yield at, part


def _reader(file: object, fields: Sequence[int]) -> "pyarrow.ipc.RecordBatchFileReader":
    """Of a file, or else of a stream; only these columns are read, all where none is given."""
    from pyarrow import ArrowInvalid, ipc

    def opened(options: object) -> "pyarrow.ipc.RecordBatchFileReader":
        try:
            return ipc.open_file(file, options=options)
        except ArrowInvalid:
            file.seek(0)  # type: ignore[attr-defined]  # a regular file
            return ipc.open_stream(file, options=options)

    return opened(ipc.IpcReadOptions(included_fields=list(fields)))


def _each(reader: "pyarrow.ipc.RecordBatchFileReader", first: int) -> "Iterator[pyarrow.RecordBatch]":
    """The batches from number `first` on."""
    if hasattr(reader, "get_batch"):
        yield from (reader.get_batch(number) for number in range(first, reader.num_record_batches))
    else:
        yield from itertools.islice(reader, first, None)
