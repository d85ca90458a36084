"""The two halves of a Wide ResNet pipeline."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hnexport.ensemble import Ensemble
from hnexport.hypernet.generator import WeightGenerator
from hnexport.networks.wide_resnet.family import IMAGE, describe, source
from hnexport.networks.wide_resnet.image_network import ImageNetwork
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.networks.wide_resnet.storage import generator_spec
from hnexport.spec import BATCH

__all__ = ["wide_resnet_ensemble"]


def wide_resnet_ensemble(spec: PipelineSpec, tensors: Mapping[str, Tensor], origin: str) -> Ensemble:
    """The ensemble of a specification over stored tensors, taken as they are.

    Raises:
        CheckpointError: the tensors are not those of the specification.
    """
    found = describe(spec)
    dtype, shape = spec.image_input
    return Ensemble(
        name=found.name,
        origin=origin,
        members=found.members,
        signature=found.signature,
        slots=found.slots,
        stored=found.stored,
        generator=WeightGenerator(generator_spec(spec), tensors).eval(),
        network=ImageNetwork(spec),
        examples={IMAGE: torch.zeros((2, *shape), dtype=getattr(torch, dtype))},
        dynamic={IMAGE: {0: BATCH}},
        source=source(spec),
    )
