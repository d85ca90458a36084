"""One request as work: inputs that can be joined with others' along the batch, and what belongs to it of the result."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.rows import batch_size
from hnexport.runtime import AnytimePrediction, EnsemblePrediction, EnsembleValue, LoadedEnsemble
from hnexport.serve.asked import Asked
from hnexport.serve.outputs import MEMBERS_USED, votes_name
from hnexport.spec import OutputSpec, Signature
from hnexport.spec.summaries import SummaryKind, summaries

__all__ = ["Ran", "Work", "can_join", "run_together"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a request got, and the call in which it was computed.

    Attributes:
        outputs: by name.
        batch: the number of that call.
        batch_rows: how many samples it had.
        offset: the first of them that is this request's.
    """

    outputs: Arrays
    batch: int
    batch_rows: int
    offset: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """A request whose inputs were checked.

    Attributes:
        ensemble: what computes it, also where another has replaced it in the meantime.
        rows: how many samples it has.
        key: equal for those that can be one batch.
        size_bytes: of the inputs.
    """

    ensemble: LoadedEnsemble
    asked: Asked
    inputs: Arrays
    rows: int = field(init=False)
    key: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        signature = self.ensemble.signature
        joins = can_join(signature)
        object.__setattr__(self, "rows", batch_size(signature, dict(self.inputs)) if joins else 1)
        same = tuple(_same(self.inputs[item.name], item.has_batch) for item in signature.inputs)
        object.__setattr__(self, "key", (id(self.ensemble), self.asked, same if joins else object()))


def can_join(signature: Signature) -> bool:
    """Whether requests can be one batch: samples lie along the first axis of an input and of every output."""
    return any(item.has_batch for item in signature.inputs) and all(item.has_batch for item in signature.outputs)


def _same(array: NDArray[Any], has_batch: bool) -> Any:
    """What must be equal: the size of every other axis, and where there is no batch, every number."""
    return array.shape[1:] if has_batch else (array.shape, array.tobytes())


def run_together(works: Sequence[Work], batch: int) -> list[Ran]:
    """Compute requests of one key in one call of the runtime, and give each its own samples.

    Raises:
        HnexportError: the runtime cannot.
    """
    first = works[0]
    inputs = first.inputs if len(works) == 1 else _joined(first.ensemble.signature, works)
    outputs = _outputs(first.ensemble, first.asked, inputs)
    rows = sum(work.rows for work in works)
    if len(works) == 1:
        return [Ran(outputs={name: array for name, array, _ in outputs}, batch=batch, batch_rows=rows, offset=0)]
    found, offset = [], 0
    for work in works:
        own = slice(offset, offset + work.rows)
        part = {name: array[:, own] if axis else array[own] for name, array, axis in outputs}
        found.append(Ran(outputs=part, batch=batch, batch_rows=rows, offset=offset))
        offset += work.rows
    return found


def _joined(signature: Signature, works: Sequence[Work]) -> Arrays:
    return {
        item.name: np.concatenate([work.inputs[item.name] for work in works])
        if item.has_batch
        else works[0].inputs[item.name]
        for item in signature.inputs
    }


def _outputs(ensemble: LoadedEnsemble, asked: Asked, inputs: Arrays) -> list[tuple[str, NDArray[Any], int]]:
    """Name, array and which of its axes is the batch."""
    signature = ensemble.signature
    if asked.member is not None:
        return [(name, array, 0) for name, array in ensemble.outputs(asked.member, inputs).items()]
    if not asked.summary:
        several = ensemble.predict(dict(inputs), members=asked.members)
        by_name = several if isinstance(several, dict) else {signature.outputs[0].name: several}
        return [(name, array, 1) for name, array in by_name.items()]
    said = ensemble.predict_mean(dict(inputs), members=asked.members, until=asked.until)
    by_output = said if isinstance(said, dict) else {signature.outputs[0].name: said}
    return [item for output in signature.outputs for item in _summarised(signature, output, by_output[output.name])]


def _summarised(
    signature: Signature, output: OutputSpec, said: EnsemblePrediction | EnsembleValue
) -> Iterable[tuple[str, NDArray[Any], int]]:
    """What the runtime says of one output, by the names that `ensemble.onnx` gives it, and votes."""
    values: dict[SummaryKind, Any]
    if isinstance(said, EnsemblePrediction):
        values = {
            SummaryKind.MEMBERS: said.logits,
            SummaryKind.MEAN_PROBABILITIES: said.probabilities,
            SummaryKind.PREDICTIVE_ENTROPY: said.predictive_entropy,
            SummaryKind.MUTUAL_INFORMATION: said.mutual_information,
        }
    else:
        values = {SummaryKind.MEMBERS: said.values, SummaryKind.MEAN: said.mean, SummaryKind.VARIANCE: said.variance}
    for summary in summaries(signature):
        if summary.of == output.name:
            yield summary.name, np.asarray(values[summary.kind]), int(summary.kind is SummaryKind.MEMBERS)
    if isinstance(said, EnsemblePrediction):
        yield votes_name(signature, output), said.votes, 0
    if isinstance(said, AnytimePrediction):
        yield MEMBERS_USED, said.members_used, 0
