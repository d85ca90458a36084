"""The main network's layers, and how the layers of an artifact are matched with them.

An artifact shows its layers as calls: convolutions, batch norms and the output layer, each with the tensors that it was
given. Where names survive they decide. Elsewhere the first call of the right kind and kernel shape that is still free
is taken: layers of one shape depend on each other, so that every valid order of a graph keeps theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hnexport.networks.wide_resnet.slots import NORM_STATISTICS, NetworkSlot, Role, network_slots
from hnexport.networks.wide_resnet.spec import WideResNetSpec

__all__ = ["Layer", "LayerCall", "LayerKind", "call_weights", "match_layers", "network_layers"]

Array = NDArray[np.generic]


class LayerKind(StrEnum):
    """What a layer computes."""

    CONVOLUTION = "convolution"
    NORM = "batch norm"
    LINEAR = "linear"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of the main network and its slots, in the order weight, bias, mean, variance."""

    name: str
    kind: LayerKind
    slots: tuple[NetworkSlot, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCall:
    """One layer that an artifact computed.

    Attributes:
        tensors: weight, bias, mean, variance, as far as the layer has them.
        output: the value's name in the trace.
    """

    kind: LayerKind
    name: str
    tensors: tuple[Array, ...]
    output: str


def network_layers(spec: WideResNetSpec) -> tuple[Layer, ...]:
    """The layers in the order in which an image meets them (a block's shortcut after its convolutions)."""
    slots: dict[str, list[NetworkSlot]] = {}
    for slot in network_slots(spec):
        slots.setdefault(slot.name.rpartition(".")[0], []).append(slot)
    return tuple(Layer(name=name, kind=_kind(found[0]), slots=tuple(found)) for name, found in slots.items())


def match_layers(layers: Sequence[Layer], calls: Sequence[LayerCall]) -> dict[str, LayerCall]:
    """For each layer's name, the call that computes it; a layer that was fused away is left out."""
    matched: dict[str, LayerCall] = {}
    free = list(calls)
    for layer in layers:
        named = [call for call in free if call.name.partition("/")[0] == layer.name and call.kind is layer.kind]
        if len(named) == 1:
            matched[layer.name] = named[0]
            free.remove(named[0])
    for layer in layers:
        if layer.name in matched:
            continue
        shape = layer.slots[0].shape
        fitting = [call for call in free if call.kind is layer.kind and call.tensors and call.tensors[0].shape == shape]
        if fitting:
            call = fitting[-1 if layer.kind is LayerKind.LINEAR else 0]
            matched[layer.name] = call
            free.remove(call)
    return matched


def call_weights(layers: Sequence[Layer], matched: Mapping[str, LayerCall]) -> dict[str, Array]:
    """The tensors that the matched layers were given, by slot name."""
    return {
        slot.name: tensor
        for layer in layers
        if layer.name in matched
        for slot, tensor in zip(layer.slots, matched[layer.name].tensors, strict=False)
    }


def _kind(slot: NetworkSlot) -> LayerKind:
    if slot.role in (Role.OUTPUT_WEIGHT, Role.OUTPUT_BIAS):
        return LayerKind.LINEAR
    if slot.role in (Role.NORM_SCALE, Role.NORM_SHIFT) or slot.role in NORM_STATISTICS:
        return LayerKind.NORM
    return LayerKind.CONVOLUTION
