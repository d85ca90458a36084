"""What to build: frozen, self-validating specifications of a Wide ResNet, its recipe and its pipeline.

A specification is plain data (standard library only): it travels in checkpoints and manifests as JSON. Everything
else is derived from it by pure functions of this package: the main network's slots (`slots`), the chunks (`chunking`)
and the tensors that are stored (`storage`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from hnexport.errors import SpecError
from hnexport.records import SPARSE
from hnexport.spec import HypernetSpec, Source
from hnexport.spec.checks import require, require_kind, require_positive, require_tuple
from hnexport.spec.images import ImageLayout

__all__ = [
    "RECIPES",
    "ImageLayout",
    "ImageSpec",
    "PipelineSpec",
    "PreprocessSpec",
    "Recipe",
    "ShortcutInput",
    "WideResNetSpec",
]


class ShortcutInput(StrEnum):
    """What the 1x1 shortcut of a block that changes the width or the resolution takes.

    `raw`: the block's input as it is, as hypnettorch's `WRN`. `preactivated`: what the block's first convolution takes,
    after batch norm and ReLU, as the Wide ResNets of Zagoruyko & Komodakis' code and those of the late-phase ensembles.
    """

    RAW = "raw"
    PREACTIVATED = "preactivated"


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The size of one image; `height` and `width` in pixels.

    Attributes:
        channels: 3 of colour pictures.
        height: in pixels.
        width: in pixels.
    """

    channels: int = 3
    height: int = 32
    width: int = 32

    def __post_init__(self) -> None:
        require_positive("an image's channels, height and width", (self.channels, self.height, self.width))

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channel, height, width)`."""
        return (self.channels, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class WideResNetSpec:
    """A Wide ResNet WRN-d-k-B(3,3) (Zagoruyko & Komodakis 2016, arXiv 1605.07146).

    Attributes:
        blocks_per_group: the paper's n; the depth is d = 6n + 4.
        widening: the paper's k; multiplies the feature maps of the three groups.
        classes: how many logits there are.
        image: the size of its images.
        feature_maps: the input layer's feature maps, then those of the three groups before widening.
        conv_bias: whether the 3x3 convolutions have a bias (the 1x1 shortcuts never do).
        output_bias: whether the output layer has a bias.
        batch_norm: whether there is batch norm.
        dropout: probability between the two convolutions of a block while training; inactive in an export.
        shortcut_input: what the 1x1 shortcuts take; see `ShortcutInput`.
    """

    blocks_per_group: int
    widening: int
    classes: int = 10
    image: ImageSpec = field(default_factory=ImageSpec)
    feature_maps: tuple[int, int, int, int] = (16, 16, 32, 64)
    conv_bias: bool = False
    output_bias: bool = True
    batch_norm: bool = True
    dropout: float = 0.0
    shortcut_input: ShortcutInput = field(default=ShortcutInput.RAW, metadata=SPARSE)

    def __post_init__(self) -> None:
        require_kind("shortcut_input", self.shortcut_input, ShortcutInput)
        require_positive("blocks_per_group", (self.blocks_per_group,))
        require_positive("widening", (self.widening,))
        require_positive("classes", (self.classes,))
        require_tuple("feature_maps", self.feature_maps)
        require(len(self.feature_maps) == 4, f"feature_maps needs 4 numbers, found {len(self.feature_maps)}")
        require_positive("feature_maps", self.feature_maps)
        require(0.0 <= self.dropout < 1.0, f"dropout must be in [0, 1), found {self.dropout}")

    @classmethod
    def from_name(cls, name: str, **fields: Any) -> "WideResNetSpec":
        """The network of a name such as `wrn-28-10`: depth 28 = 6*4 + 4, widening 10.

        Args:
            fields: any other fields of the specification.

        Raises:
            SpecError: the name is not `wrn-DEPTH-WIDENING`, or the depth is not 6n + 4.
        """
        match = re.fullmatch(r"wrn-(\d+)-(\d+)", name.lower())
        if match is None:
            raise SpecError(
                f"unknown network {name!r}: expected wrn-DEPTH-WIDENING, for instance wrn-28-10 or wrn-16-4"
            )
        depth, widening = int(match[1]), int(match[2])
        if depth < 10 or (depth - 4) % 6:
            near = max(10, 6 * round((depth - 4) / 6) + 4)
            raise SpecError(
                f"unknown network {name!r}: the depth must be 6n + 4 (10, 16, 22, 28, …); "
                f"nearest is wrn-{near}-{widening}"
            )
        return cls(blocks_per_group=(depth - 4) // 6, widening=widening, **fields)

    @property
    def depth(self) -> int:
        """The paper's d: 3x3 convolutions, plus the three shortcuts."""
        return 6 * self.blocks_per_group + 4

    @property
    def name(self) -> str:
        """`wrn-d-k`."""
        return f"wrn-{self.depth}-{self.widening}"

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Feature maps of the input layer and of the three groups, widened."""
        first, *groups = self.feature_maps
        return (first, *(maps * self.widening for maps in groups))  # type: ignore[return-value]

    @property
    def strides(self) -> tuple[int, int, int]:
        """The stride of the first convolution in each group."""
        return (1, 2, 2)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Which tensors of the main network are shared, member or generated.

    Attributes:
        convolution: kernels, shortcuts and convolution biases.
        norm: batch-norm scale and shift (its statistics: `PipelineSpec.member_statistics`).
        output: weight and bias of the output layer.
    """

    convolution: Source
    norm: Source
    output: Source

    def __post_init__(self) -> None:
        for what, source in zip(("convolution", "norm", "output"), self.sources, strict=True):
            require_kind(what, source, Source)

    @property
    def sources(self) -> tuple[Source, Source, Source]:
        """The three sources, in the order of the attributes."""
        return (self.convolution, self.norm, self.output)

    @property
    def name(self) -> str:
        """`hypernet` or `batch-ensemble` where it is one of them, otherwise its nearest with what differs."""
        for name, recipe in RECIPES.items():
            if recipe == self:
                return name
        base = "hypernet" if Source.GENERATED in self.sources else "batch-ensemble"
        usual = RECIPES[base]
        changes = [
            f"{part}-{getattr(self, part)}"
            for part in ("convolution", "norm", "output")
            if getattr(self, part) != getattr(usual, part)
        ]
        return "+".join([base, *changes])


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "hypernet": Recipe(convolution=Source.GENERATED, norm=Source.SHARED, output=Source.MEMBER),
        "batch-ensemble": Recipe(convolution=Source.SHARED, norm=Source.MEMBER, output=Source.MEMBER),
    }
)
"""The recipes of the paper by name: where convolutions, norms and output layer come from."""


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec:
    """Normalisation inside the graph, which then takes `uint8 [batch, height, width, channel]`.

    The network sees `(pixel / 255 - mean) / std`, with one `mean` and `std` for each channel.

    Attributes:
        mean: one for each channel.
        std: one for each channel, positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require_tuple("mean", self.mean)
        require_tuple("std", self.std)
        require(
            len(self.mean) == len(self.std),
            f"mean has {len(self.mean)} numbers, std {len(self.std)}; give one of each a channel",
        )
        require(all(map(math.isfinite, (*self.mean, *self.std))), "mean and std must be finite numbers")
        require(all(value > 0 for value in self.std), f"std must be positive, found {self.std}")


@dataclass(frozen=True, kw_only=True)
class PipelineSpec:
    """One pipeline `(cond_id, image) -> logits`.

    Attributes:
        network: the Wide ResNet.
        members: the number of ensemble members; `cond_id` runs from 0 to `members - 1`.
        recipe: where each kind of tensor comes from.
        member_statistics: whether batch norm has one set of running statistics for each member.
        hypernet: None exactly if the recipe generates nothing.
        image_layout: how images lie in the exported graph's input.
        preprocess: what the exported graph does with pixels; None where it takes normalised images.
    """

    network: WideResNetSpec
    members: int
    recipe: Recipe = RECIPES["hypernet"]
    hypernet: HypernetSpec | None = field(default_factory=HypernetSpec)
    member_statistics: bool = False
    image_layout: ImageLayout = ImageLayout.NCHW
    preprocess: PreprocessSpec | None = None

    def __post_init__(self) -> None:
        require_positive("members", (self.members,))
        require_kind("image_layout", self.image_layout, ImageLayout)
        generates = Source.GENERATED in self.recipe.sources
        require(
            generates or self.hypernet is None,
            "a recipe that generates nothing has no hypernetwork: set hypernet to None",
        )
        require(
            not generates or self.hypernet is not None, "a recipe that generates tensors needs a hypernet specification"
        )
        require(
            self.members == 1 or self.member_statistics or set(self.recipe.sources) != {Source.SHARED},
            "a recipe that shares every tensor makes all members the same: use one member",
        )
        require(
            self.recipe.norm is not Source.GENERATED or self.recipe.convolution is Source.GENERATED,
            "batch-norm weights are generated together with their convolution: generate the convolutions too",
        )
        require(self.network.batch_norm or not self.member_statistics, "a network without batch norm has no statistics")
        if self.preprocess is not None:
            channels = self.network.image.channels
            require(
                len(self.preprocess.mean) == channels,
                f"mean and std need {channels} numbers, one a channel; found {len(self.preprocess.mean)}",
            )
            require(
                self.image_layout is ImageLayout.NHWC,
                "preprocessing takes uint8 [batch, height, width, channel]: set image_layout to nhwc",
            )

    @property
    def name(self) -> str:
        """`wrn-28-10-hypernet-10`: network, recipe, members."""
        return f"{self.network.name}-{self.recipe.name}-{self.members}"

    @property
    def image_input(self) -> tuple[str, tuple[int, ...]]:
        """The dtype and the shape, without the batch axis, of the graph's image input."""
        channels, height, width = self.network.image.shape
        shape = {
            ImageLayout.NCHW: (channels, height, width),
            ImageLayout.NHWC: (height, width, channels),
            ImageLayout.FLAT_HWC: (height * width * channels,),
        }[self.image_layout]
        return ("uint8" if self.preprocess else "float32", shape)
