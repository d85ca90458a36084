"""From parts to one file, and what it says of rows that could not be read."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnexport.errors import RuntimeInputError
from hnexport.publishing import Rules, staged_file
from hnexport.score.parts import Parts
from hnexport.score.plan import METADATA_KEY, Plan, parsed

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Damaged", "Faults", "assemble", "faults_of", "plan_of", "rules"]

_GROUP_ROWS = 16_384
_GROUP_BYTES = 2**26
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A row that has no prediction."""

    row: int
    id: Any
    error: str


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Rows that have no prediction: how many, and the first of them."""

    count: int
    first: tuple[Damaged, ...]


def rules() -> Rules:
    """Nothing is replaced."""
    return Rules(error=RuntimeInputError, what="file", forced_by="")


def assemble(parts: Parts, plan: Plan, out: Path) -> None:
    """Write the parts as one file, in their order, and put it at its place.

    Raises:
        RuntimeInputError: a part is damaged, something is at the place, or the disk is full; the parts stay.
    """
    from pyarrow import parquet

    with staged_file(out, rules()) as new, new.open("wb") as file:
        writer, rows = None, 0
        try:
            for group in _groups(parts, plan):
                writer = writer or parquet.ParquetWriter(file, group.schema)
                writer.write_table(group, row_group_size=max(1, len(group)))
                rows += len(group)
        finally:
            if writer is not None:
                writer.close()
        if rows != plan.rows:
            raise RuntimeInputError(f"{parts.folder} holds {rows:,} rows, not {plan.rows:,}: give the same again")


def _groups(parts: Parts, plan: Plan) -> "itertools.chain[pyarrow.Table]":
    """The rows of several parts together, as many as make a row group."""
    import pyarrow as pa

    def grouped() -> Any:
        held, rows, size = [], 0, 0
        for part in plan.parts:
            table = parts.table(part)
            if table.column("row")[0].as_py() != part.start:
                raise RuntimeInputError(f"{parts.folder}: part {part.number} holds other rows than its own")
            held.append(table)
            rows, size = rows + len(table), size + table.nbytes
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                yield pa.concat_tables(held).combine_chunks()
                held, rows, size = [], 0, 0
        if held:
            yield pa.concat_tables(held).combine_chunks()

    return itertools.chain(grouped())


def plan_of(out: Path) -> Plan | None:
    """The plan that a finished file holds; None where there is no file, or none of ours."""
    from pyarrow import ArrowException, parquet

    try:
        held = parquet.read_metadata(out).metadata or {}
    except (OSError, ArrowException):
        return None
    return parsed(held.get(METADATA_KEY, b""))


def faults_of(out: Path) -> Faults:
    """What a finished file says of rows without a prediction."""
    from pyarrow import parquet

    count, first = 0, list[Damaged]()
    with parquet.ParquetFile(out) as file:
        for batch in file.iter_batches(columns=["id", "row", "error"]):
            wrong = batch.filter(batch.column("error").is_valid())
            count += len(wrong)
            for one in wrong.slice(0, max(0, _SHOWN - len(first))).to_pylist():
                first.append(Damaged(row=one["row"], id=one["id"], error=one["error"]))
    return Faults(count=count, first=tuple(first))
