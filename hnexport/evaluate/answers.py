"""Where answers come from: a source gives the members' outputs for some samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.batches import Inputs
from hnexport.evaluate.data import Data
from hnexport.progress import Progress, no_progress
from hnexport.rows import batch_size, taken
from hnexport.runtime.ensemble import LoadedEnsemble
from hnexport.runtime.options import EngineName, Precision, Strategy
from hnexport.spec import OutputSpec, Signature

__all__ = ["FLOAT64", "Source", "answers", "runtime_source"]

Array = NDArray[Any]

FLOAT64 = "float64"
"""The name of the source that computes in float64 with PyTorch."""
SAMPLES_AT_ONCE = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What answers.

    Attributes:
        name: "runtime", with another precision "runtime-int8"; "float64"; or an artifact's.
        runtime: what computes it, in words.
        precision: the arithmetic.
        timed_as: what `hnexport bench` calls such members; "" where it does not time them.
        provider: where they run.
        run: the outputs by name of one member, of the samples of one call.
    """

    name: str
    runtime: str
    run: Callable[[int, Inputs], Mapping[str, Array]]
    precision: str = Precision.FLOAT32.value
    timed_as: str = ""
    provider: str = ""


def runtime_source(ensemble: LoadedEnsemble) -> Source:
    """A loaded bundle: what an application gets."""
    precision, plain = ensemble.precision, ensemble.precision is Precision.FLOAT32
    return Source(
        name="runtime" if plain else f"runtime-{precision.value}",
        runtime=f"{ensemble.engine} on {ensemble.provider}, {ensemble.strategy.value}"
        + ("" if plain else f", {precision.value}"),
        run=lambda member, inputs: ensemble.outputs(member, inputs),
        precision=precision.value,
        timed_as=_timed_as(ensemble),
        provider=ensemble.provider,
    )


def _timed_as(ensemble: LoadedEnsemble) -> str:
    """What `hnexport bench` calls such members.

    "" for tf32, and for float16 on CUDA: there the plain network that it compares with is not in float32 either.
    """
    engine = "openvino-" if ensemble.engine == EngineName.OPENVINO else ""
    strategy = "folded-resident" if ensemble.strategy is Strategy.FOLDED else ensemble.strategy.value
    names = {
        Precision.FLOAT32: f"{engine}{strategy}",
        **({half: f"{engine}{strategy}-{half}" for half in (Precision.FLOAT16, Precision.BFLOAT16)} if engine else {}),
        Precision.INT8: f"{engine}int8",
    }
    return names.get(ensemble.precision, "")


def answers(
    source: Source,
    signature: Signature,
    output: OutputSpec,
    members: Sequence[int],
    data: Data,
    progress: Progress = no_progress,
) -> Array:
    """`[member, sample, …]` of one output, in the dtype in which the source gives it.

    Raises:
        RuntimeInputError: answers of some samples have another shape than those before, or there are more or fewer
            samples than were counted when the data were opened.
    """
    found, first, done = None, 0, 0
    for inputs in data.batches:
        count = batch_size(signature, inputs)
        for position, member in enumerate(members):
            for start in range(0, count, SAMPLES_AT_ONCE):
                part = np.asarray(
                    source.run(member, taken(signature, inputs, slice(start, start + SAMPLES_AT_ONCE)))[output.name]
                )
                if found is None:
                    found = np.empty((len(members), data.samples, *part.shape[1:]), part.dtype)
                if part.shape[1:] != found.shape[2:]:
                    raise RuntimeInputError(
                        f"{data.place}: answers have the shapes {list(found.shape[2:])} and {list(part.shape[1:])}: "
                        "samples that are evaluated together have one size"
                    )
                found[position, first + start : first + start + len(part)] = part
                done += len(part)
                progress(f"evaluate {source.name}", done, len(members) * data.samples)
        first += count
    if found is None or first != data.samples:
        raise RuntimeInputError(f"{data.place} has changed: {first} of {data.samples} samples were found")
    return found
