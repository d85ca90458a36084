"""Which outputs of a sample a NaN in one of its inputs makes NaN: not all have to, so the reference is asked."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.ensemble import Ensemble
from hnexport.parity.double import conditions_of, run_weights
from hnexport.rows import batch_size, flat_rows, taken
from hnexport.spec import Signature, TensorSpec

__all__ = ["SPOILS", "Spoil", "spoilable", "spoilt", "spoilt_outputs"]

Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Spoil:
    """What one sample of an input is given.

    Attributes:
        step: 1 for all of its numbers, 7 for every seventh, and so on.
        other: every second time this instead.
    """

    value: float
    step: int
    other: float | None = None

    def key(self, name: str) -> str:
        """Under which the reference remembers what it does to an input: `image`, or `image:7`."""
        return name if self.step == 1 else f"{name}:{self.step}"

    @property
    def is_nan(self) -> bool:
        """Whether it passes through arithmetic."""
        return bool(np.isnan(self.value))


_NAN, _SOME_NAN = Spoil(value=np.nan, step=1), Spoil(value=np.nan, step=7)
SPOILS = (_NAN, _SOME_NAN, Spoil(value=np.inf, step=2, other=-np.inf))


def spoilable(signature: Signature) -> tuple[TensorSpec, ...]:
    """The inputs that have samples which can be NaN."""
    return tuple(item for item in signature.inputs if item.has_batch and item.is_floating)


def spoilt(inputs: Mapping[str, Array], name: str, row: int, spoil: Spoil) -> dict[str, Array]:
    """The inputs with one sample of one of them spoilt."""
    changed = np.array(inputs[name])
    numbers = changed[row : row + 1].reshape(-1)
    numbers[:: spoil.step] = spoil.value
    if spoil.other is not None:
        numbers[spoil.step :: 2 * spoil.step] = spoil.other
    return {**inputs, name: changed}


def spoilt_outputs(ensemble: Ensemble, member: int, inputs: Mapping[str, Array]) -> dict[str, tuple[str, ...]]:
    """For each input, by `Spoil.key`, the floating-point outputs of which every number is NaN where the sample is."""
    signature, found = ensemble.signature, {}
    rows = min(2, batch_size(signature, inputs))
    some = taken(signature, inputs, slice(0, rows))
    with torch.no_grad():
        weights = ensemble.weights(member, conditions_of(ensemble, inputs)) if spoilable(signature) else {}
    for item in spoilable(signature):
        for spoil in (_NAN, _SOME_NAN):
            with np.errstate(all="ignore"):
                try:
                    outputs = run_weights(ensemble, weights, spoilt(some, item.name, rows - 1, spoil))
                except Exception:  # a network may refuse NaN, and then nothing is known
                    outputs = {}
            found[spoil.key(item.name)] = tuple(
                output.name
                for output in signature.outputs
                if output.is_floating
                and output.has_batch
                and output.name in outputs
                and bool(np.isnan(flat_rows(output, outputs[output.name])[rows - 1]).all())
            )
    return found
