"""Which chunk goes where: a pure function from a specification to internal hypernetworks and their assembly.

The layer groups are those of "Economical ensembles with hypernetworks" (arXiv 2007.12927v1, table S1; since v4 "Neural
networks with late-phase weights", ICLR 2021) in the form in which hypnettorch's `wrn_chunking` realises them:

- the input layer; the three shortcuts, one each; the output layer, if it is generated;
- each group's first 3x3 convolution and its rest, as two internal hypernetworks, unless both have input widths that a
  common chunk can make up: widths in a ratio of 1 or 2 (or any ratio, with `gcd` chunking, by their greatest common
  divisor). Then one internal hypernetwork generates `[out, common, 3, 3]` chunks, which are joined along the input
  channels;
- with `halves` chunking, a layer that keeps an even width has two chunks `[out, out / 2, 3, 3]`, and a group's first
  convolution shares their internal hypernetwork where its own input is as wide as one or two of them.

A chunk holds the kernel and, where they exist and are generated, the convolution's bias and the scale and shift of the
batch norm after it. Where a layer has several chunks, bias, scale and shift are those of its first one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hnexport.errors import SpecError
from hnexport.hypernet.plan import Assembly, ChunkPlan, InternalHypernet, Piece
from hnexport.networks.wide_resnet.slots import OUTPUT_LAYER, NetworkSlot, Role, network_slots, slot_source
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.spec import Chunking, HypernetSpec, Source

__all__ = ["Part", "chunk_parts", "count_pieces", "plan_chunks"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One tensor inside a chunk, and where it starts in the flat chunk."""

    role: Role
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Layers that one internal hypernetwork serves: the slots of each layer, and how many chunks each layer takes."""

    name: str
    layers: tuple[tuple[NetworkSlot, ...], ...]
    chunks_per_layer: tuple[int, ...]
    chunk_channels: int | None
    published_embedding_size: int


def plan_chunks(spec: PipelineSpec) -> ChunkPlan:
    """The chunk plan of a pipeline; empty where its recipe generates nothing.

    Raises:
        SpecError: the number of embedding sizes is not the number of internal hypernetworks.
    """
    families = _families(spec)
    if spec.hypernet is None:
        return ChunkPlan()
    hypernets, assembly = [], {}
    for family, embedding_size in zip(families, _embedding_sizes(spec.hypernet, families), strict=True):
        parts = _parts(family)
        hypernets.append(
            InternalHypernet(
                name=family.name,
                chunks=sum(family.chunks_per_layer),
                chunk_size=sum(part.size for part in parts),
                embedding_size=embedding_size,
            )
        )
        first = 0
        for layer, count in zip(family.layers, family.chunks_per_layer, strict=True):
            for slot, part in zip(layer, parts, strict=True):
                used = range(first, first + (count if slot.role is Role.KERNEL else 1))
                assembly[slot.name] = _assembly(family.name, part, used)
            first += count
    return ChunkPlan(hypernets=tuple(hypernets), assembly=assembly)


def chunk_parts(spec: PipelineSpec) -> dict[str, tuple[Part, ...]]:
    """What a chunk of each internal hypernetwork holds, by its name."""
    return {family.name: _parts(family) for family in _families(spec)}


def _assembly(hypernet: str, part: Part, chunks: range) -> Assembly:
    pieces = tuple(Piece(hypernet=hypernet, chunk=chunk, offset=part.offset, shape=part.shape) for chunk in chunks)
    return Assembly(pieces=pieces, axis=1 if len(pieces) > 1 else None)


def count_pieces(spec: PipelineSpec) -> int:
    """An upper bound of the plan's chunks, without making it: narrow chunks make many of a wide layer."""
    if spec.hypernet is None or Source.GENERATED not in spec.recipe.sources:
        return 0
    network, total = spec.network, 5  # the input layer, three shortcuts, the output layer
    for before, width in zip(network.widths, network.widths[1:], strict=False):
        common = _common_channels(before, width, spec.hypernet.chunking)
        first, rest = (1, 2) if common is None else (before // common, width // common)
        total += first + (2 * network.blocks_per_group - 1) * rest
    return total


def _families(spec: PipelineSpec) -> tuple[_Family, ...]:
    """What each internal hypernetwork serves; nothing where the recipe generates nothing."""
    if spec.hypernet is None:
        return ()
    generated = [slot for slot in network_slots(spec.network) if slot_source(spec, slot) is Source.GENERATED]
    return tuple(_published_order(spec.network, spec.hypernet.chunking, generated))


def _published_order(network: WideResNetSpec, chunking: Chunking, generated: list[NetworkSlot]) -> Iterator[_Family]:
    """The internal hypernetworks in their published order: input, groups, shortcuts, output."""
    layers: dict[int, tuple[NetworkSlot, ...]] = {}
    for role in (Role.KERNEL, Role.CONV_BIAS, Role.NORM_SCALE, Role.NORM_SHIFT):
        for slot in generated:
            if slot.role is role:
                layers[slot.layer] = (*layers.get(slot.layer, ()), slot)
    if layers:
        yield _whole("input", (layers[0],), 10)
        per_group = 2 * network.blocks_per_group
        for group in (1, 2, 3):
            members = tuple(layers[1 + (group - 1) * per_group + index] for index in range(per_group))
            yield from _group_families(group, network.widths[group - 1 : group + 1], chunking, members)
    for slot in generated:
        if slot.role is Role.SHORTCUT:
            yield _whole(f"shortcut{slot.group}", ((slot,),), 7)
    output = tuple(slot for slot in generated if slot.role in OUTPUT_LAYER)
    if output:
        yield _whole("output", (output,), 10)


def _group_families(
    group: int, widths: tuple[int, ...], chunking: Chunking, layers: tuple[tuple[NetworkSlot, ...], ...]
) -> Iterator[_Family]:
    before, width = widths
    common = _common_channels(before, width, chunking)
    if common is None:
        yield _whole(f"group{group}.first", layers[:1], 7)
        rest = _whole(f"group{group}.rest", layers[1:], 14)
        if chunking is Chunking.HALVES and width % 2 == 0:
            rest = replace(rest, chunks_per_layer=(2,) * len(rest.layers), chunk_channels=width // 2)
        yield rest
        return
    yield _Family(
        name=f"group{group}",
        layers=layers,
        chunks_per_layer=(before // common, *[width // common] * (len(layers) - 1)),
        chunk_channels=common,
        published_embedding_size=14,
    )


def _common_channels(before: int, width: int, chunking: Chunking) -> int | None:
    """The input channels of a group's chunks; None where the first layer and the rest have chunks of their own."""
    if chunking is Chunking.HALVES:
        half = width // 2
        return half if width % 2 == 0 and before in (half, width) else None
    if max(before, width) in (min(before, width), 2 * min(before, width)):
        return min(before, width)
    return math.gcd(before, width) if chunking is Chunking.GCD else None


def _whole(name: str, layers: tuple[tuple[NetworkSlot, ...], ...], embedding_size: int) -> _Family:
    """A family whose layers are one chunk each."""
    return _Family(
        name=name,
        layers=layers,
        chunks_per_layer=(1,) * len(layers),
        chunk_channels=None,
        published_embedding_size=embedding_size,
    )


def _parts(family: _Family) -> tuple[Part, ...]:
    parts: list[Part] = []
    for slot in family.layers[0]:
        shape = slot.shape
        if slot.role is Role.KERNEL and family.chunk_channels is not None:
            shape = (shape[0], family.chunk_channels, *shape[2:])
        parts.append(Part(role=slot.role, shape=shape, offset=sum(part.size for part in parts)))
    return tuple(parts)


def _embedding_sizes(hypernet: HypernetSpec, families: tuple[_Family, ...]) -> tuple[int, ...]:
    if hypernet.embedding_sizes is None:
        return tuple(family.published_embedding_size for family in families)
    if len(hypernet.embedding_sizes) != len(families):
        names = ", ".join(family.name for family in families)
        raise SpecError(
            f"expected {len(families)} embedding sizes, one for each internal hypernetwork ({names}), "
            f"found {len(hypernet.embedding_sizes)}"
        )
    return hypernet.embedding_sizes
