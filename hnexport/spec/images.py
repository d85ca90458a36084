"""An input that takes images: where channels, height and width lie."""

from dataclasses import dataclass
from enum import StrEnum

from hnexport.spec.tensors import TensorSpec
from hnexport.spec.usage import Normalisation

__all__ = ["ImageInput", "ImageLayout"]

_CHANNELS = (1, 3)
_DTYPES = ("float32", "uint8")


class ImageLayout(StrEnum):
    """The axes of the graph's image input.

    `nchw` is `[batch, channel, height, width]`, `nhwc` is `[batch, height, width, channel]`, and `flat-hwc`, which
    hypnettorch's networks take, is `[batch, height*width*channel]`.
    """

    NCHW = "nchw"
    NHWC = "nhwc"
    FLAT_HWC = "flat-hwc"


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """An input that takes images; `height` and `width` in pixels.

    Attributes:
        normalisation: what pictures need before they reach it; None where nobody said it, or where it takes uint8.
    """

    tensor: TensorSpec
    layout: ImageLayout
    channels: int
    height: int
    width: int
    normalisation: Normalisation | None = None

    @classmethod
    def guess(cls, tensor: TensorSpec) -> "ImageInput | None":
        """What an input's axes say, where its family says nothing: one or three channels, first as PyTorch has them.

        None where it does not look like images: other axes than four, of fixed sizes, or neither float32 nor uint8.
        """
        sizes = tuple(size for size in tensor.row if isinstance(size, int))
        if not tensor.has_batch or len(tensor.shape) != 4 or len(sizes) != 3 or tensor.dtype not in _DTYPES:
            return None
        first, second, third = sizes
        if first in _CHANNELS:
            return cls(tensor=tensor, layout=ImageLayout.NCHW, channels=first, height=second, width=third)
        if third in _CHANNELS:
            return cls(tensor=tensor, layout=ImageLayout.NHWC, channels=third, height=first, width=second)
        return None
