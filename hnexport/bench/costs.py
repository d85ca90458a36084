"""What members cost, of a benchmark in a file."""

from pathlib import Path
from statistics import median

from hnexport.bench.results import BenchReport
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.costs import Costs
from hnexport.reading import ReadError, read_json
from hnexport.records import RecordError, from_json

__all__ = ["read_costs"]

_MOST_BYTES = 2**24


def read_costs(path: Path) -> Costs:
    """What `hnexport bench --json` printed into a file: of each contender the median over the batch sizes.

    Raises:
        RuntimeInputError: it is something else, or its plain network is not in float32.
    """
    try:
        found = from_json(BenchReport, read_json(path, _MOST_BYTES))
    except (ReadError, RecordError) as error:
        raise RuntimeInputError(f"{path} is not what `hnexport bench BUNDLE --json` prints: {error}") from error
    if found.precision != "float32":
        raise RuntimeInputError(
            f"{path} compares with a plain network in {found.precision}: costs are in runs of one in float32"
        )
    sizes = ", ".join(map(str, found.batch_sizes))
    return Costs(
        told=f"{found.bundle} on {found.provider}, the median over the batch sizes {sizes}",
        provider=found.provider,
        runs={
            one.name: float(median(timing.plain_runs for timing in one.timings))
            for one in found.contenders
            if one.timings
        },
    )
