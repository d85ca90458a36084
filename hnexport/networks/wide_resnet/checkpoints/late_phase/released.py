"""Whether the members of a late-phase network were released: before that they are one network.

That code begins with all members tied: they compute with one module a layer, `tied_module` or `tied_coef`, while the
members' own stay as they were initialised. When they are released, each starts from the tied one. Which of both it is
stands in no tensor, but what was never trained can be told from what was.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.late_phase.layers import Layer

__all__ = ["check_released"]

_INITIAL_NORM = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def check_released(layers: Iterable[Layer]) -> None:
    """Check that the members' own tensors are what the network computes with.

    Raises:
        CheckpointError: they are as they were initialised, and what was trained is the tied one.
    """
    for layer in layers:
        if layer.tied and _is_waiting(layer):
            raise CheckpointError(
                f"layer {layer.name!r}: the file was written before the members were released: all of them compute "
                f"with {layer.name}.{'tied_coef' if layer.templates else 'tied_module'}, and '{layer.own}.0' and the "
                f"others are as they were initialised, so that it holds one network and no members; take a checkpoint "
                "of a later epoch (after coef_release_epoch), or call release_coefficients() before you save"
            )


def _is_waiting(layer: Layer) -> bool:
    """Whether every member is untrained and the tied one is not."""
    if layer.templates:
        first = layer.members[0]
        same = all(_is_equal(own, first) for own in layer.members)
        return same and len(layer.members) > 1 and not _is_equal(layer.tied, first)
    return all(map(_is_initial, layer.members)) and not _is_initial(layer.tied)


def _is_initial(own: Mapping[str, Tensor]) -> bool:
    """Whether a batch norm, or the bias of an output layer, is what it is before the first step.

    Kernels, which are drawn at random, say nothing.
    """
    expected = _INITIAL_NORM if "running_var" in own else {"bias": 0.0}
    return expected.keys() <= own.keys() and all(bool((own[leaf] == value).all()) for leaf, value in expected.items())


def _is_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[leaf]) for leaf, tensor in one.items())
