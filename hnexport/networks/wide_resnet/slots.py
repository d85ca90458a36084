"""The one table of the main network's tensors: a specification in, ordered and named slots out.

Nothing else computes names, shapes or positions. The names are those of `WideResNet.state_dict()` (without
PyTorch's `num_batches_tracked` counters, which evaluation never reads), the order is that of the data flow. Standard
library only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.spec import Slot, Source

__all__ = ["NORM_STATISTICS", "OUTPUT_LAYER", "NetworkSlot", "Role", "count_slots", "network_slots", "slot_source"]


class Role(StrEnum):
    """What a tensor does in the main network."""

    KERNEL = "kernel"
    CONV_BIAS = "conv-bias"
    SHORTCUT = "shortcut"
    NORM_SCALE = "norm-scale"
    NORM_SHIFT = "norm-shift"
    NORM_MEAN = "norm-mean"
    NORM_VARIANCE = "norm-variance"
    OUTPUT_WEIGHT = "output-weight"
    OUTPUT_BIAS = "output-bias"


NORM_STATISTICS = frozenset({Role.NORM_MEAN, Role.NORM_VARIANCE})
OUTPUT_LAYER = frozenset({Role.OUTPUT_WEIGHT, Role.OUTPUT_BIAS})


@dataclass(frozen=True, kw_only=True)
class NetworkSlot(Slot):
    """One tensor of the main network, and its place there. Batch-norm statistics are what is not trained.

    Kernels are `[out_channel, in_channel, height, width]`, the output weight is `[class, feature]`.

    Attributes:
        group: 0 for the input layer, 1 to 3 for the groups, 4 for the output layer.
        layer: 0 for the input convolution, 1 to 6n for the 3x3 convolutions after it; a batch norm has the number of
            the convolution whose output it normalises; a shortcut has the number of its group's first convolution.
    """

    role: Role
    group: int
    layer: int

    @property
    def general(self) -> Slot:
        """The slot without its place, as manifests and generators know it."""
        return Slot(name=self.name, dtype=self.dtype, shape=self.shape, trained=self.trained, alias_of=self.alias_of)


def network_slots(spec: WideResNetSpec) -> tuple[NetworkSlot, ...]:
    """Every tensor of the network, batch-norm statistics included, in the order in which an image meets them."""
    return tuple(_slots(spec))


def count_slots(spec: WideResNetSpec) -> int:
    """How many slots the network has, without making their table: a specification may ask for any number."""
    convolution, norm = 1 + spec.conv_bias, 4 * spec.batch_norm
    widths = zip(spec.widths, spec.widths[1:], spec.strides, strict=False)
    shortcuts = sum(before != width or stride != 1 for before, width, stride in widths)
    blocks = 3 * spec.blocks_per_group * 2 * (convolution + norm)
    return convolution + blocks + shortcuts + norm + 1 + spec.output_bias


def slot_source(spec: PipelineSpec, slot: NetworkSlot) -> Source:
    """Where a slot's tensor comes from under a pipeline's recipe."""
    if slot.role in NORM_STATISTICS:
        return Source.MEMBER if spec.member_statistics else Source.SHARED
    if slot.role in (Role.NORM_SCALE, Role.NORM_SHIFT):
        return spec.recipe.norm
    if slot.role in OUTPUT_LAYER:
        return spec.recipe.output
    return spec.recipe.convolution


def _slots(spec: WideResNetSpec) -> Iterator[NetworkSlot]:
    widths = spec.widths
    yield from _convolution(spec, "input", (widths[0], spec.image.channels), group=0, layer=0)
    channels, layer = widths[0], 0
    for group, (width, stride) in enumerate(zip(widths[1:], spec.strides, strict=True), start=1):
        for block in range(1, spec.blocks_per_group + 1):
            prefix = f"group{group}.block{block}"
            first = block == 1
            yield from _norm(spec, f"{prefix}.norm1", channels, group=group - first, layer=layer)
            yield from _convolution(spec, f"{prefix}.conv1", (width, channels), group=group, layer=layer + 1)
            yield from _norm(spec, f"{prefix}.norm2", width, group=group, layer=layer + 1)
            yield from _convolution(spec, f"{prefix}.conv2", (width, width), group=group, layer=layer + 2)
            if first and (channels != width or stride != 1):
                shape = (width, channels, 1, 1)
                yield NetworkSlot(
                    name=f"{prefix}.shortcut.weight", shape=shape, role=Role.SHORTCUT, group=group, layer=layer + 1
                )
            channels, layer = width, layer + 2
    yield from _norm(spec, "norm", channels, group=3, layer=layer)
    classes, last = (spec.classes,), layer + 1
    yield NetworkSlot(name="output.weight", shape=(*classes, channels), role=Role.OUTPUT_WEIGHT, group=4, layer=last)
    if spec.output_bias:
        yield NetworkSlot(name="output.bias", shape=classes, role=Role.OUTPUT_BIAS, group=4, layer=last)


def _convolution(
    spec: WideResNetSpec, name: str, channels: tuple[int, int], *, group: int, layer: int
) -> Iterator[NetworkSlot]:
    yield NetworkSlot(name=f"{name}.weight", shape=(*channels, 3, 3), role=Role.KERNEL, group=group, layer=layer)
    if spec.conv_bias:
        yield NetworkSlot(name=f"{name}.bias", shape=channels[:1], role=Role.CONV_BIAS, group=group, layer=layer)


def _norm(spec: WideResNetSpec, name: str, channels: int, *, group: int, layer: int) -> Iterator[NetworkSlot]:
    if not spec.batch_norm:
        return
    for suffix, role in (
        ("weight", Role.NORM_SCALE),
        ("bias", Role.NORM_SHIFT),
        ("running_mean", Role.NORM_MEAN),
        ("running_var", Role.NORM_VARIANCE),
    ):
        yield NetworkSlot(
            name=f"{name}.{suffix}",
            shape=(channels,),
            trained=role not in NORM_STATISTICS,
            role=role,
            group=group,
            layer=layer,
        )
