"""What a pipeline stores: the one table from a specification to the tensors that a checkpoint and an export hold.

Bases are `[embedding, chunk]` (or `[last hidden, chunk]`): a chunk is a linear combination of their rows. Everything
that belongs to single members has the member as its first axis. Standard library only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hnexport.networks.wide_resnet.chunking import InternalHypernet, plan_chunks
from hnexport.networks.wide_resnet.slots import Slot, network_slots, slot_source
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spec import BasisDtype, Source

__all__ = ["ALIGNMENT_BYTES", "StoredKind", "StoredTensor", "WeightCounts", "count_weights", "stored_tensors"]

ALIGNMENT_BYTES = 4096
"""Every tensor in a file of weights begins at a multiple of this: a page, so that it can be mapped alone."""


class StoredKind(StrEnum):
    """What a stored tensor is for."""

    BASIS = "basis"
    BASIS_BIAS = "basis-bias"
    HIDDEN = "hidden"
    HIDDEN_BIAS = "hidden-bias"
    EMBEDDING = "embedding"
    SHARED = "shared"
    MEMBER = "member"


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One stored tensor.

    Attributes:
        name: its name in the pipeline's state dict, in native checkpoints and in the ONNX files.
        dtype: `float32`; of a basis also `float16`, see `HypernetSpec.basis_dtype`.
        hypernet: the internal hypernetwork it belongs to, or None.
        slot: the main network's slot that it fills, or None.
    """

    name: str
    shape: tuple[int, ...]
    kind: StoredKind
    dtype: str = "float32"
    hypernet: InternalHypernet | None = None
    slot: Slot | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of its elements."""
        return self.size * (2 if self.dtype == BasisDtype.FLOAT16 else 4)

    @property
    def is_conditional(self) -> bool:
        """Whether its first axis is the member."""
        return self.kind in (StoredKind.EMBEDDING, StoredKind.MEMBER)

    @property
    def is_weight(self) -> bool:
        """Whether training changes it by gradient: everything but batch-norm statistics."""
        return self.slot is None or self.slot.is_weight


@dataclass(frozen=True, kw_only=True)
class WeightCounts:
    """Weight counts (elements, batch-norm statistics left out), as hypnettorch prints them."""

    network: int
    generated: int
    chunks: int
    hypernets: int
    hypernet_output: int
    structured_unconditional: int
    structured_conditional: int
    unconditional: int
    conditional: int

    @property
    def structured(self) -> int:
        """Weights of the structured hypernetwork alone."""
        return self.structured_unconditional + self.structured_conditional

    @property
    def total(self) -> int:
        """Weights of the whole container."""
        return self.unconditional + self.conditional

    @property
    def structured_ratio(self) -> float:
        """Structured hypernetwork's weights over the weights that it generates; nan if it generates none."""
        return self.structured / self.generated if self.generated else math.nan

    @property
    def ratio(self) -> float:
        """Container's weights over the main network's."""
        return self.total / self.network


def stored_tensors(spec: PipelineSpec) -> tuple[StoredTensor, ...]:
    """Every tensor that the pipeline stores: internal hypernetworks first, then the slots that are not generated."""
    return tuple(_stored(spec))


def count_weights(spec: PipelineSpec) -> WeightCounts:
    """Count what is stored and what it turns into."""
    plan = plan_chunks(spec)
    weights = [tensor for tensor in stored_tensors(spec) if tensor.is_weight]
    slots = [slot for slot in network_slots(spec.network) if slot.is_weight]

    def total(*, conditional: bool, structured: bool) -> int:
        chosen = (tensor for tensor in weights if tensor.hypernet is not None or not structured)
        return sum(tensor.size for tensor in chosen if tensor.is_conditional is conditional)

    return WeightCounts(
        network=sum(math.prod(slot.shape) for slot in slots),
        generated=sum(math.prod(slot.shape) for slot in slots if slot.name in plan.assembly),
        chunks=plan.chunks,
        hypernets=len(plan.hypernets),
        hypernet_output=plan.output_size,
        structured_unconditional=total(conditional=False, structured=True),
        structured_conditional=total(conditional=True, structured=True),
        unconditional=total(conditional=False, structured=False),
        conditional=total(conditional=True, structured=False),
    )


def _stored(spec: PipelineSpec) -> Iterator[StoredTensor]:
    for hypernet in plan_chunks(spec).hypernets:
        yield from _stored_hypernet(spec, hypernet)
    for slot in network_slots(spec.network):
        source = slot_source(spec, slot)
        if source is Source.SHARED:
            yield StoredTensor(name=f"shared.{slot.name}", shape=slot.shape, kind=StoredKind.SHARED, slot=slot)
        elif source is Source.MEMBER:
            shape = (spec.members, *slot.shape)
            yield StoredTensor(name=f"member.{slot.name}", shape=shape, kind=StoredKind.MEMBER, slot=slot)


def _stored_hypernet(spec: PipelineSpec, hypernet: InternalHypernet) -> Iterator[StoredTensor]:
    settings, prefix = spec.hypernet, f"hypernet.{hypernet.name}"
    if settings is None:
        return

    def tensor(suffix: str, shape: tuple[int, ...], kind: StoredKind) -> StoredTensor:
        dtype = settings.basis_dtype.value if kind is StoredKind.BASIS else "float32"
        return StoredTensor(name=f"{prefix}.{suffix}", shape=shape, kind=kind, dtype=dtype, hypernet=hypernet)

    yield tensor("embedding", (spec.members, hypernet.chunks, hypernet.embedding_size), StoredKind.EMBEDDING)
    size = hypernet.embedding_size
    for number, hidden in enumerate(settings.hidden_layers, start=1):
        yield tensor(f"hidden{number}.weight", (size, hidden), StoredKind.HIDDEN)
        if settings.bias:
            yield tensor(f"hidden{number}.bias", (hidden,), StoredKind.HIDDEN_BIAS)
        size = hidden
    yield tensor("basis", (size, hypernet.chunk_size), StoredKind.BASIS)
    if settings.bias:
        yield tensor("bias", (hypernet.chunk_size,), StoredKind.BASIS_BIAS)
