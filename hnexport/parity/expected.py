"""What a bundle's family makes of stored tensors again: every slot of a member, and the ensemble where it is data."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.manifest import Manifest
from hnexport.ensemble import Ensemble
from hnexport.families import family
from hnexport.names import GUARD
from hnexport.parity.tempered import tempered

__all__ = ["Weights", "expected_weights", "known_ensemble"]

Weights = Callable[[int, Mapping[str, NDArray[np.generic]]], Mapping[str, Tensor]]
"""Every slot's tensor of one member, with the conditions among some inputs."""


def expected_weights(manifest: Manifest, tensors: Mapping[str, Tensor]) -> Weights:
    """A function from a member and conditions to the slots' tensors, aliases too, in the dtype of the stored tensors.

    Args:
        tensors: the stored tensors; they are not copied.
    """
    source = manifest.source
    generator = family(source.family).generator(manifest, source.spec, tensors)

    def weights(member: int, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, Tensor]:
        conditions = {name: torch.from_numpy(np.array(inputs[name])) for name in manifest.conditions}
        with torch.no_grad():
            held = dict(generator(torch.tensor(member), **conditions))
        held.pop(GUARD, None)
        return {slot.name: held[slot.alias_of or slot.name] for slot in manifest.slots}

    return weights


def known_ensemble(manifest: Manifest, tensors: Mapping[str, Tensor]) -> Ensemble | None:
    """The ensemble of a bundle again; None where its network is not known from data."""
    source = manifest.source
    found = family(source.family).ensemble(manifest, source.spec, tensors, manifest.origin)
    return found if found is None or manifest.temperature is None else tempered(found, manifest.temperature)
