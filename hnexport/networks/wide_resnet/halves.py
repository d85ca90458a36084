"""The two halves of a Wide ResNet pipeline."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hnexport.ensemble import Ensemble
from hnexport.hypernet.generator import WeightGenerator
from hnexport.networks.wide_resnet.family import IMAGE, describe, source
from hnexport.networks.wide_resnet.module import WideResNet
from hnexport.networks.wide_resnet.pipeline import Preprocess
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.networks.wide_resnet.storage import generator_spec
from hnexport.spec import BATCH

__all__ = ["ImageNetwork", "wide_resnet_ensemble"]


class ImageNetwork(WideResNet):
    """`image -> logits`, the image as the graph takes it: its slots are those of the Wide ResNet."""

    def __init__(self, spec: PipelineSpec) -> None:
        with torch.device("meta"):
            super().__init__(spec.network)
        self._preprocess = (Preprocess(spec),)  # in a tuple: mean and std are no slots
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """`image`: as `PipelineSpec.image_input` says; returns logits, float `[batch, class]`."""
        return super().forward(self._preprocess[0](image, self.input.weight.dtype))


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
