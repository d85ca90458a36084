"""The main network behind the image input of a pipeline: layouts, and pixels that the graph normalises itself."""

import torch
from torch import Tensor, nn

from hnexport.errors import RuntimeInputError
from hnexport.networks.wide_resnet.module import WideResNet
from hnexport.networks.wide_resnet.spec import ImageLayout, PipelineSpec

__all__ = ["ImageNetwork", "Preprocess"]


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
            mean, std = (one if one.device == image.device else one.to(image.device) for one in (self.mean, self.std))
            image = (image.to(dtype) / 255.0 - mean.to(dtype)) / std.to(dtype)
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
