"""From what the members say together to columns: one row a sample, empty where it could not be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.runtime.uncertainty import AnytimePrediction, EnsemblePrediction, EnsembleValue
from hnexport.spec import OutputSpec, Signature
from hnexport.spec.summaries import Summary, SummaryKind, summaries

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Column", "PartTable", "columns_of", "table_schema"]

Prediction = EnsemblePrediction | EnsembleValue
NOT_A_NUMBER = "what the members say of it is not a number: look for NaN and infinity in the input"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        of: the network's output, by name.
        dtype, shape: of a row.
        values: `[row, …]` of a prediction.
        names: of the classes, where the column holds one for each number.
        answers: whether rows without a finite prediction have none.
    """

    name: str
    of: str
    dtype: str
    shape: tuple[int, ...]
    values: Callable[[Any], NDArray[Any]]
    names: tuple[str, ...] = ()
    answers: bool = False


def columns_of(
    signature: Signature, members: int, class_names: Mapping[str, Sequence[str]], *, member_outputs: bool
) -> tuple[Column, ...]:
    """The columns of a network's outputs, those with the answers first.

    Raises:
        RuntimeInputError: an output has no row for each sample, or rows of any size.
    """
    said = summaries(signature)
    found: list[Column] = []
    for output in signature.outputs:
        own = [one for one in said if one.of == output.name]
        means = [one for one in own if one.kind is SummaryKind.MEAN_PROBABILITIES]
        if means and len(output.shape) == 2:
            suffix = means[0].name.removeprefix(SummaryKind.MEAN_PROBABILITIES)
            found += _answers(output, suffix, tuple(class_names.get(output.name, ())))
        for summary in own:
            whole = not output.is_floating
            if summary.kind is not SummaryKind.MEMBERS or member_outputs or whole:
                found.append(_column(output, summary, members))
    return tuple(found)


def _answers(output: OutputSpec, suffix: str, names: tuple[str, ...]) -> list[Column]:
    def column(name: str, dtype: str, values: Callable[[EnsemblePrediction], NDArray[Any]]) -> Column:
        return Column(name=name + suffix, of=output.name, dtype=dtype, shape=(), values=values, answers=True)

    named = Column(
        name=f"class_name{suffix}",
        of=output.name,
        dtype="int64",
        shape=(),
        values=lambda found: found.probabilities.argmax(-1),
        names=names,
        answers=True,
    )
    return [
        column("answer", "int64", lambda found: found.probabilities.argmax(-1)),
        *([named] if names else []),
        column("probability", "float64", lambda found: found.probabilities.max(-1)),
        column("votes", "int64", _own_votes),
    ]


def _own_votes(found: EnsemblePrediction) -> NDArray[Any]:
    return np.take_along_axis(found.votes, found.probabilities.argmax(-1)[:, np.newaxis], axis=-1)[:, 0]


def _column(output: OutputSpec, summary: Summary, members: int) -> Column:
    of_members = summary.kind is SummaryKind.MEMBERS
    row = summary.shape[2:] if of_members else summary.shape[1:]
    sizes = tuple(size for size in row if isinstance(size, int))
    if not output.has_batch or len(sizes) != len(row):
        raise RuntimeInputError(
            f"{output.name} has the shape [{', '.join(map(str, output.shape))}]: only what has a row of one size for "
            "each sample can be written as columns; use predict in Python"
        )
    dtype = summary.dtype if of_members or summary.kind is SummaryKind.MEAN_PROBABILITIES else "float64"
    return Column(
        name=summary.name,
        of=output.name,
        dtype="float32" if dtype == "float16" else dtype,  # few readers of Parquet know float16
        shape=(members, *sizes) if of_members else sizes,
        values=_MEMBERS if of_members else _VALUES[summary.kind],
    )


def _MEMBERS(found: Any) -> NDArray[Any]:  # noqa: N802  # beside `_VALUES`
    """`[row, member, …]`."""
    return np.moveaxis(found.logits if isinstance(found, EnsemblePrediction) else found.values, 0, 1)


_VALUES: dict[SummaryKind, Callable[[Any], NDArray[Any]]] = {
    SummaryKind.MEAN_PROBABILITIES: lambda found: found.probabilities,
    SummaryKind.PREDICTIVE_ENTROPY: lambda found: found.predictive_entropy,
    SummaryKind.MUTUAL_INFORMATION: lambda found: found.mutual_information,
    SummaryKind.MEAN: lambda found: found.mean,
    SummaryKind.VARIANCE: lambda found: found.variance,
}


def table_schema(
    columns: Sequence[Column], id_type: "pyarrow.DataType", metadata: Mapping[bytes, str]
) -> "pyarrow.Schema":
    """`id`, `row`, the columns, `members_used` and `error`."""
    import pyarrow as pa

    fields = [pa.field("id", id_type), pa.field("row", pa.int64(), nullable=False)]
    fields += [pa.field(one.name, _type(one)) for one in columns]
    fields += [pa.field("members_used", pa.int64()), pa.field("error", pa.string())]
    return pa.schema(fields, metadata=dict(metadata))


def _type(column: Column) -> "pyarrow.DataType":
    import pyarrow as pa

    found = pa.string() if column.names else pa.from_numpy_dtype(np.dtype(column.dtype))
    for size in reversed(column.shape):
        found = pa.list_(found, size)
    return found


class PartTable:
    """The rows of a part, filled batch by batch."""

    def __init__(self, columns: Sequence[Column], rows: int) -> None:
        self._columns = columns
        self._values = {one.name: np.zeros((rows, *one.shape), one.dtype) for one in columns}
        self._used = np.zeros(rows, np.int64)
        self._scored = np.zeros(rows, np.bool_)
        self._finite = np.ones(rows, np.bool_)

    def fill(self, rows: NDArray[np.int64], outputs: Mapping[str, Prediction]) -> None:
        """What is said of some rows."""
        for one in self._columns:
            found = outputs[one.of]
            self._values[one.name][rows] = one.values(found)
            if one.answers and isinstance(found, EnsemblePrediction):
                self._finite[rows] &= np.isfinite(found.probabilities).all(-1)
        first = next(iter(outputs.values()))
        self._used[rows] = first.members_used if isinstance(first, AnytimePrediction) else len(first.members)
        self._scored[rows] = True

    def table(self, schema: "pyarrow.Schema", first: int, ids: Sequence[Any], errors: Sequence[str]) -> "pyarrow.Table":
        """All rows; `first` is the number of the first, and an error is "" where there was none."""
        import pyarrow as pa

        said = [error or None for error in errors]
        for row in np.flatnonzero(self._scored & ~self._finite):
            said[row] = NOT_A_NUMBER
        rows = len(ids)
        arrays = [pa.array(ids, schema.field("id").type), pa.array(np.arange(first, first + rows))]
        for one in self._columns:
            missing = ~(self._scored & self._finite) if one.answers else ~self._scored
            arrays.append(_array(self._values[one.name], missing, one))
        arrays += [pa.array(self._used, mask=~self._scored), pa.array(said, pa.string())]
        return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: NDArray[Any], missing: NDArray[np.bool_], column: Column) -> "pyarrow.Array":
    import pyarrow as pa

    if column.names:
        return pa.array(
            [None if gone else column.names[one] for one, gone in zip(values, missing, strict=True)], pa.string()
        )
    if not column.shape:
        return pa.array(values, mask=missing)
    found = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(column.shape[1:]):
        found = pa.FixedSizeListArray.from_arrays(found, size)
    return pa.FixedSizeListArray.from_arrays(found, column.shape[0], mask=pa.array(missing))
