"""What every slot of a member holds, by the family's own generator over stored tensors."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hnexport.families import Described, family
from hnexport.names import GUARD
from hnexport.source import EnsembleSource

__all__ = ["Weights", "expected_weights"]

Weights = Callable[[int], Mapping[str, Tensor]]
"""Every slot's tensor of one member."""


def expected_weights(described: Described, source: EnsembleSource, tensors: Mapping[str, Tensor]) -> Weights:
    """A function from a member to its slots' tensors, aliases among them, in the dtype of the stored tensors.

    Args:
        tensors: the stored tensors; they are not copied.
    """
    generator = family(source.family).generator(described, source.spec, tensors)

    def weights(member: int) -> Mapping[str, Tensor]:
        with torch.no_grad():
            held = dict(generator(torch.tensor(member)))
        held.pop(GUARD, None)
        return {slot.name: held[slot.alias_of or slot.name] for slot in described.slots}

    return weights
