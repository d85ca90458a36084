"""Where answers come from: a source gives the members' outputs for some samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.data import Data
from hnexport.progress import Progress, no_progress
from hnexport.rows import taken
from hnexport.runtime.ensemble import LoadedEnsemble
from hnexport.spec import OutputSpec, Signature

__all__ = ["FLOAT64", "Inputs", "Source", "answers", "runtime_source"]

Array = NDArray[Any]
Inputs = Mapping[str, Array]

FLOAT64 = "float64"
"""The name of the source that computes in float64 with PyTorch."""
SAMPLES_AT_ONCE = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What answers.

    Attributes:
        name: "runtime", "float64" or an artifact's.
        runtime: what computes it, in words.
        run: the outputs by name of one member, of the samples of one call.
    """

    name: str
    runtime: str
    run: Callable[[int, Inputs], Mapping[str, Array]]


def runtime_source(ensemble: LoadedEnsemble) -> Source:
    """A loaded bundle: what an application gets."""
    return Source(
        name="runtime",
        runtime=f"{ensemble.engine} on {ensemble.provider}, {ensemble.strategy.value}",
        run=lambda member, inputs: ensemble.outputs(member, inputs),
    )


def answers(
    source: Source,
    signature: Signature,
    output: OutputSpec,
    members: Sequence[int],
    data: Data,
    progress: Progress = no_progress,
) -> Array:
    """`[member, sample, …]` of one output, in the dtype in which the source gives it."""
    found = []
    for count, member in enumerate(members, start=1):
        parts = [
            np.asarray(
                source.run(member, taken(signature, data.inputs, slice(start, start + SAMPLES_AT_ONCE)))[output.name]
            )
            for start in range(0, data.samples, SAMPLES_AT_ONCE)
        ]
        found.append(np.concatenate(parts))
        progress(f"evaluate {source.name}", count, len(members))
    return np.stack(found)
