"""One part: read, scored, and as the bytes of a Parquet file."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import BundleError, RuntimeInputError
from hnexport.runtime import load
from hnexport.runtime.ensemble import LoadedEnsemble
from hnexport.score.columns import PartTable, columns_of, table_schema
from hnexport.score.options import ScoreOptions
from hnexport.score.plan import METADATA_KEY, Part, Plan
from hnexport.score.samples import Row, Source, as_text
from hnexport.score.sources import open_source
from hnexport.text import shorten

__all__ = ["Job", "Scorer", "load_ensemble"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is told, wherever it runs.

    Attributes:
        bundle, data: the same paths for all workers.
    """

    bundle: Path
    data: Path
    options: ScoreOptions
    plan: Plan

    def open(self, threads: int | None) -> "Scorer":
        """Load the bundle and open the data.

        Raises:
            BundleError: the bundle is damaged, or not here.
            RuntimeInputError: the data are not here, or are others.
        """
        ensemble = load_ensemble(self.bundle, self.options, threads)
        source = open_source(self.data, ensemble.manifest, self.options)
        if source.fingerprint != self.plan.fingerprint:
            raise RuntimeInputError(f"{self.data} has changed, or is another one where this worker runs")
        return Scorer(ensemble, source, self.options, self.plan)


def load_ensemble(bundle: Path, options: ScoreOptions, threads: int | None) -> LoadedEnsemble:
    """The bundle as `options` say."""
    return load(
        bundle,
        provider=options.provider,
        engine=options.engine,
        precision=options.precision,
        strategy=options.strategy or "auto",
        digest=options.digest,
        threads=threads,
    )


class Scorer:
    """A loaded bundle and open data."""

    def __init__(self, ensemble: LoadedEnsemble, source: Source, options: ScoreOptions, plan: Plan) -> None:
        self._ensemble, self._source, self._options, self._plan = ensemble, source, options, plan
        self._columns = _columns(ensemble.manifest, plan)
        self._schema = table_schema(self._columns, source.id_type, {METADATA_KEY: plan.text})

    def content(self, part: Part) -> bytes:
        """A Parquet file with the rows of a part.

        Raises:
            RuntimeInputError: the source cannot be read at all, or predicting fails.
        """
        import pyarrow as pa
        from pyarrow import parquet

        table = PartTable(self._columns, part.stop - part.start)
        ids, errors = list[Any](), list[str]()
        try:
            for rows in _ahead(self._batches(part)):
                found = [as_text(row.error) for row in rows]
                for numbers in _alike(rows):
                    self._fill(table, len(ids), rows, numbers, found)
                ids += [row.id for row in rows]
                errors += found
            self._source.check()
        except RuntimeInputError as error:
            raise RuntimeInputError(f"rows {part.start:,} to {part.stop - 1:,}: {error}") from error
        file = pa.BufferOutputStream()
        parquet.write_table(table.table(self._schema, part.start, ids, errors), file, write_page_checksum=True)
        return bytes(file.getvalue())

    def _fill(self, table: PartTable, first: int, rows: list[Row], numbers: list[int], errors: list[str]) -> None:
        """Score some rows of a batch; where they cannot be computed each is tried alone, so that none spoils another.

        Args:
            first: the number of the batch's first row in the part.
        """
        inputs = [row.inputs for row in rows]
        try:
            said = self._said(_stacked([one for number in numbers if (one := inputs[number]) is not None]))
        except (BundleError, RuntimeInputError) as error:  # the graph computed its golden sample, and not this
            if len(numbers) > 1:
                for number in numbers:
                    self._fill(table, first, rows, [number], errors)
            else:
                errors[numbers[0]] = as_text(f"the network cannot compute it: {shorten(error.__cause__ or error)}")
            return
        table.fill(np.array(numbers, np.int64) + first, said)

    def _batches(self, part: Part) -> Iterator[list[Row]]:
        step = self._plan.batch_rows
        for start in range(part.start, part.stop, step):
            yield list(self._source.read(start, min(start + step, part.stop)))

    def _said(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, Any]:
        members = "all" if self._options.members is None else self._options.members
        found = self._ensemble.predict_mean(inputs, members=members, until=self._options.until)  # type: ignore[arg-type]
        return found if isinstance(found, dict) else {self._ensemble.signature.outputs[0].name: found}


def _columns(manifest: Manifest, plan: Plan) -> Any:
    return columns_of(manifest.signature, len(plan.members), plan.class_names, member_outputs=plan.member_outputs)


def _stacked(inputs: list[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]}


def _alike(rows: list[Row]) -> list[list[int]]:
    """The numbers of rows that have inputs, those together whose inputs have the same shapes."""
    found: dict[Any, list[int]] = {}
    for number, row in enumerate(rows):
        if row.inputs is not None:
            found.setdefault(tuple(array.shape for array in row.inputs.values()), []).append(number)
    return list(found.values())


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in another thread while the one before is used."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(next, items, end)
        while (found := pending.result()) is not end:
            pending = thread.submit(next, items, end)
            yield found  # type: ignore[misc]  # not the end
