"""The order in which hypnettorch 0.0.4 keeps its tensors: the one table from a specification to its state dicts.

Main network (`mnets.wide_resnet.WRN`): scale and shift of every batch norm, the 1x1 shortcuts, every 3x3 convolution
with its bias, the output layer.

Hypernetwork (`_internal_params` of `hnets.hnet_container.HContainer` or `hnets.structured_mlp_hnet.StructuredHMLP`):
the layers of every internal hypernetwork, weight before bias, as `nn.Linear` keeps them (`[out, in]`); the chunk
embeddings, member by member; the container's unconditional tensors; its conditional tensors, member by member. Within
both, tensors are in the main network's order, which is what the assembly functions of hypnettorch's tutorial
(`uncond + hnet + cond`, and `cond[:-2] + uncond + cond[-2:]`) have in common. Standard library only.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from hnexport.networks.wide_resnet.slots import NetworkSlot, Role, network_slots
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import StoredKind, StoredTensor

__all__ = ["OrderedTensor", "hypernet_order", "main_order", "norm_order"]

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class OrderedTensor:
    """One tensor of hypnettorch's hypernetwork, and the stored tensor that it becomes.

    Attributes:
        shape: its shape in hypnettorch.
        member: the member it belongs to, or None.
        transposed: whether the stored tensor has its two axes the other way round.
    """

    shape: Shape
    stored: StoredTensor
    member: int | None = None
    transposed: bool = False

    @property
    def description(self) -> str:
        """What it is, for messages."""
        member = "" if self.member is None else f" of member {self.member}"
        return f"{self.stored.name}{member}"


@functools.lru_cache(maxsize=64)
def main_order(network: WideResNetSpec) -> tuple[NetworkSlot, ...]:
    """The main network's weights in hypnettorch's order (`WRN.param_shapes`)."""
    slots = [slot for slot in network_slots(network) if slot.trained]
    first = {Role.NORM_SCALE: 0, Role.NORM_SHIFT: 0, Role.SHORTCUT: 1}
    # sorted is stable: scale stays before shift, and kernel before bias
    return tuple(sorted(slots, key=lambda slot: (first.get(slot.role, 2), slot.layer)))


def norm_order(network: WideResNetSpec) -> tuple[tuple[NetworkSlot, NetworkSlot], ...]:
    """The running mean and variance of every batch norm, in the order of `_batchnorm_layers`."""
    slots = network_slots(network)
    means = sorted((slot for slot in slots if slot.role is Role.NORM_MEAN), key=_layer)
    variances = sorted((slot for slot in slots if slot.role is Role.NORM_VARIANCE), key=_layer)
    return tuple(zip(means, variances, strict=True))


def hypernet_order(spec: PipelineSpec, *, shared_in_main: bool = False) -> tuple[OrderedTensor, ...]:
    """`_internal_params` of the hypernetwork, in order.

    With `shared_in_main`, the shared tensors are the main network's own weights, and the hypernetwork holds none.
    """
    return tuple(_ordered(spec, shared_in_main=shared_in_main))


def _layer(slot: NetworkSlot) -> int:
    return slot.layer


def _ordered(spec: PipelineSpec, *, shared_in_main: bool) -> Iterator[OrderedTensor]:
    stored = stored_tensors(spec)
    for tensor in stored:
        if tensor.kind in (StoredKind.HIDDEN, StoredKind.BASIS):
            yield OrderedTensor(shape=tensor.shape[::-1], stored=tensor, transposed=True)
        elif tensor.kind in (StoredKind.HIDDEN_BIAS, StoredKind.BASIS_BIAS):
            yield OrderedTensor(shape=tensor.shape, stored=tensor)
    for member in range(spec.members):
        for tensor in stored:
            if tensor.kind is StoredKind.EMBEDDING:
                yield OrderedTensor(shape=tensor.shape[1:], stored=tensor, member=member)
    by_slot = {tensor.slot: tensor for tensor in stored if tensor.slot is not None}
    plain = [by_slot[slot.name] for slot in main_order(spec.network) if slot.name in by_slot]
    for tensor in plain:
        if tensor.kind is StoredKind.SHARED and not shared_in_main:
            yield OrderedTensor(shape=tensor.shape, stored=tensor)
    for member in range(spec.members):
        for tensor in plain:
            if tensor.kind is StoredKind.MEMBER:
                yield OrderedTensor(shape=tensor.shape[1:], stored=tensor, member=member)
