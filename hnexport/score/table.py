"""Parquet and Arrow: a column of encoded pictures, or inputs as columns of numbers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnexport.bundle.manifest import Manifest
from hnexport.datasets.columns import encoded_columns, numbers, picture_column
from hnexport.errors import RuntimeInputError
from hnexport.images import AppliedNormalisation, image_input
from hnexport.images.reader import PictureReader
from hnexport.runtime.inputs import check_input
from hnexport.score.batches import ArrowBatches, ParquetBatches, RecordBatches
from hnexport.score.files import check_same, file_fingerprint
from hnexport.score.samples import Row
from hnexport.spelling import spelled

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Table"]


class Table:
    """Rows of one file; they are called as the column of ids says, else by their numbers."""

    def __init__(
        self, path: Path, kind: str, manifest: Manifest, pictures: Mapping[str, Any], asked: str | None
    ) -> None:
        """Read the schema.

        Args:
            kind: "parquet" or "arrow".
            asked: the column of ids, where it is named.

        Raises:
            RuntimeInputError: the file cannot be read, is empty, or lacks a column.
        """
        self.kind, self._path, self._signature = kind, path, manifest.signature
        self.fingerprint = file_fingerprint(path)  # before anything is read
        self._file: RecordBatches = ParquetBatches(path) if kind == "parquet" else ArrowBatches(path)
        self.rows = self._file.rows
        if not self.rows:
            raise RuntimeInputError(f"{path} holds no samples")
        held = self._file.schema.names
        self.identifier = _identifier(path, held, asked)
        image, encoded = image_input(manifest), encoded_columns(self._file.schema)
        self._reader: PictureReader | None = None
        self.normalised: AppliedNormalisation | None = None
        if image is not None and encoded and image.tensor.name not in set(held) - set(encoded):
            self._reader = PictureReader.of(image, **pictures)
            self.normalised = self._reader.applied(str(path))
            self._columns = [picture_column(path, encoded, image)]
        else:
            self._columns = [item.name for item in self._signature.inputs]
            missing = next((name for name in self._columns if name not in held), None)
            if missing is not None:
                raise RuntimeInputError(f"{path} has no column {missing!r}: found {', '.join(held[:12])}")
        twice = next((name for name in (*self._columns, self.identifier) if held.count(name) > 1), None)
        if twice is not None:
            raise RuntimeInputError(f"{path} has several columns {twice!r}: which is meant cannot be told, rename them")
        self._rows: Iterator[Row] = iter(())
        self._at = -1

    @property
    def id_type(self) -> "pyarrow.DataType":
        """That of the column, or numbers."""
        import pyarrow as pa

        if not self.identifier:
            return pa.int64()
        found = self._file.schema.field(self.identifier).type
        return found.value_type if pa.types.is_dictionary(found) else found

    def check(self) -> None:
        """As `Source.check`."""
        check_same(self._path, self.fingerprint)

    def read(self, start: int, stop: int) -> Iterator[Row]:
        """As `Source.read`."""
        if start != self._at:
            self._rows, self._at = self._from(start), start
        while self._at < stop:
            row = next(self._rows, None)
            if row is None:
                raise RuntimeInputError(f"{self._path} has changed: it ends before row {self._at}")
            self._at += 1
            yield row

    def _from(self, start: int) -> Iterator[Row]:
        columns = list(dict.fromkeys([*self._columns, *filter(None, [self.identifier])]))
        for first, batch in self._file.batches(start, columns):
            skipped = max(0, start - first)
            rows = batch.slice(skipped)
            at = first + skipped
            ids = rows.column(self.identifier).to_pylist() if self.identifier else range(at, at + len(rows))
            found = self._pictures(rows, at) if self._reader else self._numbers(rows, at)
            for called, one in zip(ids, found, strict=True):
                yield Row(id=called, error=one) if isinstance(one, str) else Row(id=called, inputs=one)

    def _pictures(self, batch: "pyarrow.RecordBatch", first: int) -> Iterator[str | Mapping[str, Any]]:
        if self._reader is None:
            raise RuntimeError("these are no pictures")
        (column,) = self._columns
        for number, value in enumerate(batch.column(column), start=first):
            found = value.as_py()
            content = found["bytes"] if isinstance(found, dict) else found
            subject = f"{self._path}: {column} [{number}]"
            if content is None:
                yield f"{subject} holds no picture"
                continue
            try:
                yield {self._reader.image.tensor.name: self._reader.content(content, subject)[0]}
            except RuntimeInputError as error:
                yield str(error)

    def _numbers(self, batch: "pyarrow.RecordBatch", first: int) -> Iterator[str | Mapping[str, Any]]:
        """Several rows at once, and where that fails, one by one."""
        try:
            arrays = self._arrays(batch, str(self._path))
        except RuntimeInputError:
            for number in range(len(batch)):
                try:
                    yield self._arrays(batch.slice(number, 1), f"{self._path} [{first + number}]")
                except RuntimeInputError as error:
                    yield str(error)
            return
        for number in range(len(batch)):
            yield {name: array[number : number + 1] for name, array in arrays.items()}

    def _arrays(self, batch: "pyarrow.RecordBatch", subject: str) -> dict[str, Any]:
        import pyarrow as pa

        table = pa.Table.from_batches([batch])
        return {item.name: check_input(numbers(subject, table, item), item) for item in self._signature.inputs}


def _identifier(path: Path, held: list[str], asked: str | None) -> str:
    if asked is not None and asked not in held:
        raise RuntimeInputError(
            f"{path} has no column {asked!r} with what rows are called: found {', '.join(held[:12])}; choose one with "
            f"{spelled('identifier', '--id')}, or leave it out"
        )
    return asked if asked is not None else "id" if "id" in held else ""
