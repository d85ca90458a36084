"""Which outputs of a sample a NaN in one of its inputs makes NaN: not all have to, so the reference is asked."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.ensemble import Ensemble
from hnexport.parity.double import run_single
from hnexport.parity.rows_of import batch_size, flat_rows, taken
from hnexport.spec import Signature, TensorSpec

__all__ = ["spoilable", "spoilt", "spoilt_outputs"]

Array = NDArray[np.generic]


def spoilable(signature: Signature) -> tuple[TensorSpec, ...]:
    """The inputs that have samples which can be NaN."""
    return tuple(item for item in signature.inputs if item.has_batch and item.is_floating)


def spoilt(inputs: Mapping[str, Array], name: str, row: int, value: float) -> dict[str, Array]:
    """The inputs with one sample of one of them NaN, or with every seventh of its numbers infinite."""
    changed = np.array(inputs[name])
    changed[row].reshape(-1)[:: 1 if np.isnan(value) else 7] = value
    return {**inputs, name: changed}


def spoilt_outputs(ensemble: Ensemble, member: int, inputs: Mapping[str, Array]) -> dict[str, tuple[str, ...]]:
    """For each input the floating-point outputs of which every number is NaN where the sample is."""
    signature, found = ensemble.signature, {}
    rows = min(2, batch_size(signature, inputs))
    some = taken(signature, inputs, slice(0, rows))
    for item in spoilable(signature):
        with np.errstate(all="ignore"):
            try:
                outputs = run_single(ensemble, member, spoilt(some, item.name, rows - 1, np.nan))
            except Exception:  # a network may refuse NaN, and then nothing is known
                outputs = {}
        found[item.name] = tuple(
            output.name
            for output in signature.outputs
            if output.is_floating
            and output.has_batch
            and output.name in outputs
            and bool(np.isnan(flat_rows(output, outputs[output.name])[rows - 1]).all())
        )
    return found
