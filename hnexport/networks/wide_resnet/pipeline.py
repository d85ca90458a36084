"""The pipeline: one module from a condition id and an image to logits."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hnexport.errors import RuntimeInputError
from hnexport.hypernet.generator import WeightGenerator
from hnexport.members import check_member, check_members
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.module import network_skeleton
from hnexport.networks.wide_resnet.spec import ImageLayout, PipelineSpec
from hnexport.networks.wide_resnet.storage import generator_spec

__all__ = ["Pipeline", "Preprocess"]


class Preprocess(nn.Module):
    """From the graph's image input to what the main network sees: float `[batch, channel, height, width]`."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: PipelineSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.preprocess is not None:
            self.register_buffer("mean", torch.tensor(spec.preprocess.mean, dtype=torch.float32), persistent=False)
            self.register_buffer("std", torch.tensor(spec.preprocess.std, dtype=torch.float32), persistent=False)

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """From the image to float `[batch, channel, height, width]`.

        Args:
            image: as `PipelineSpec.image_input` says.
            dtype: in which pixels are normalised: that of the network's weights.

        Raises:
            RuntimeInputError: the image has another shape, or is not uint8 where the graph normalises (a float image
                would be divided by 255 a second time), or not floating-point where it does not.
        """
        self._check(image)
        channels, height, width = self.spec.network.image.shape
        if self.spec.preprocess is not None:
            image = (image.to(dtype) / 255.0 - self.mean.to(dtype)) / self.std.to(dtype)
        if self.spec.image_layout is ImageLayout.FLAT_HWC:
            image = image.reshape(-1, height, width, channels)
        if self.spec.image_layout is not ImageLayout.NCHW:
            # Contiguous: otherwise activations keep the image's strides, and the exporter writes index arithmetic after
            # the pooling, which runs on the CPU and keeps CUDA graphs from being captured.
            image = image.permute(0, 3, 1, 2).contiguous()
        return image

    def _check(self, image: Tensor) -> None:
        """The batch axis stays open; everything else is a constant while the pipeline is captured."""
        dtype, shape = self.spec.image_input
        if tuple(image.shape[1:]) != shape:
            raise RuntimeInputError(
                f"expected images of shape {['batch', *shape]} ({self.spec.image_layout}), found {list(image.shape)}"
            )
        fits = image.dtype is torch.uint8 if dtype == "uint8" else image.is_floating_point()
        if not fits:
            raise RuntimeInputError(f"expected {dtype} images, found {image.dtype}")


class Pipeline(nn.Module):
    """`(cond_id, image) -> logits`.

    The main network is an ordinary module on the meta device, kept out of the submodules: its weights come from the
    generator at each call, so the pipeline stores nothing but the generator's tensors. It is always in evaluation mode.
    """

    def __init__(self, spec: PipelineSpec, tensors: Mapping[str, Tensor]) -> None:
        """A pipeline over `tensors`, taken as they are; see `hnexport.networks.wide_resnet.storage`.

        Raises:
            CheckpointError: the tensors are not those of the specification.
        """
        super().__init__()
        self.spec = spec
        self.generator = WeightGenerator(generator_spec(spec), tensors)
        self.preprocess = Preprocess(spec)
        self._skeleton = (network_skeleton(spec.network),)  # in a tuple: not a submodule
        self.eval()

    @classmethod
    def from_seed(cls, spec: PipelineSpec, seed: int = 0) -> Self:
        """A pipeline with random weights; see `hnexport.networks.wide_resnet.initialise`."""
        return cls(spec, initialise(spec, seed))

    def forward(self, cond_id: Tensor, image: Tensor) -> Tensor:
        """Logits of one member.

        Args:
            cond_id: int64 scalar, the member; one that does not exist gives NaN logits.
            image: as `PipelineSpec.image_input` says, by default float32 `[batch, channel, height, width]`.

        Returns:
            float `[batch, class]`.

        Raises:
            RuntimeInputError: the image has another shape or dtype than `PipelineSpec.image_input`.
        """
        return self.classify(self.generator(cond_id), image)

    def classify(self, weights: Mapping[str, Tensor], image: Tensor) -> Tensor:
        """Logits `[batch, class]` of the main network with the given weights, one tensor for each slot."""
        seen = self.preprocess(image, weights["input.weight"].dtype)
        return functional_call(self._skeleton[0], dict(weights), (seen,))  # type: ignore[no-any-return]

    def weights(self, cond_id: int) -> dict[str, Tensor]:
        """Every tensor of the main network of one member, by slot name (batch-norm statistics included).

        Raises:
            RuntimeInputError: there is no such member.
        """
        return self.generator(self._existing(cond_id))  # type: ignore[no-any-return]

    def ensemble(self, cond_ids: Sequence[int], image: Tensor) -> Tensor:
        """Logits `[member, batch, class]` of several members, in the order of `cond_ids`.

        Raises:
            RuntimeInputError: `cond_ids` is empty or names a member that does not exist.
        """
        chosen = check_members(cond_ids, self.spec.members, "cond_ids")
        return torch.stack([self(self._existing(cond_id), image) for cond_id in chosen])

    def tensors(self) -> dict[str, Tensor]:
        """Every stored tensor by its name, as `Pipeline(spec, tensors)` takes them."""
        return dict(self.generator.state_dict())

    def _existing(self, cond_id: int) -> Tensor:
        member = check_member(cond_id, self.spec.members)
        return torch.tensor(member, device=next(self.generator.parameters()).device)
