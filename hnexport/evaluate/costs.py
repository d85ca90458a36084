"""What a member costs in runs of the plain network in float32: as `hnexport bench --json` timed it."""

from pathlib import Path
from statistics import median

from hnexport.bench.results import BenchReport
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.answers import Source
from hnexport.reading import ReadError, read_json
from hnexport.records import RecordError, from_json

__all__ = ["costs_told", "member_cost", "read_costs"]

_MOST_BYTES = 2**24


def read_costs(path: Path) -> BenchReport:
    """What `hnexport bench --json` printed into a file.

    Raises:
        RuntimeInputError: it is something else, or its plain network is not in float32.
    """
    try:
        found = from_json(BenchReport, read_json(path, _MOST_BYTES))
    except (ReadError, RecordError) as error:
        raise RuntimeInputError(f"{path} is not what `hnexport bench --json` prints: {error}") from error
    if found.precision != "float32":
        raise RuntimeInputError(
            f"{path} compares with a plain network in {found.precision}: costs are in runs of one in float32"
        )
    return found


def member_cost(report: BenchReport, source: Source) -> float | None:
    """In plain runs, the median over the batch sizes; None where such members were not timed."""
    known = {one.name: one for one in report.contenders}
    found = known.get(source.timed_as)
    return None if found is None or not found.timings else float(median(one.plain_runs for one in found.timings))


def costs_told(report: BenchReport) -> str:
    """Whose members were timed, and how, in words."""
    sizes = ", ".join(map(str, report.batch_sizes))
    return f"{report.bundle} on {report.provider}, the median over the batch sizes {sizes}"
