"""What a generator stores: the one table from its description to the tensors that a checkpoint and an export hold.

Bases are `[embedding, chunk]` (or `[last hidden, chunk]`): a chunk is a linear combination of their rows. Everything
that belongs to single members has the member as its first axis. Standard library only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from hnexport.hypernet.joined import joined_bases
from hnexport.hypernet.plan import ChunkPlan, InternalHypernet, check_plan
from hnexport.spec import HypernetSpec, Slot, Source, StoredKind, StoredTensor, stored_as
from hnexport.spec.bases import stored_basis
from hnexport.spec.checks import require, require_positive

__all__ = ["ALIGNMENT_BYTES", "GeneratorSpec", "stored_tensors"]

ALIGNMENT_BYTES = 4096
"""Every tensor in a file of weights begins at a multiple of this: a page, so that it can be mapped alone."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """A generator as data: where each slot's tensor comes from.

    Attributes:
        name: what it is called in error messages.
        slots: in the order in which they are given; none is an alias.
        sources: of every slot, by name; the generated ones are those that the plan assembles.
        hypernet: how chunks are generated; None without a plan.
        guarded: shared slots that are NaN too for a condition id that does not exist. A network whose last layer is
            shared needs that: a ReLU that takes the larger of two numbers swallows the NaN of the layers before it.
        guards_outputs: the guard is a further output, `names.GUARD`, and no slot is NaN: right for any network.
    """

    name: str
    members: int
    slots: tuple[Slot, ...]
    sources: Mapping[str, Source]
    plan: ChunkPlan = field(default_factory=ChunkPlan)
    hypernet: HypernetSpec | None = None
    guarded: frozenset[str] = frozenset()
    guards_outputs: bool = False

    def __post_init__(self) -> None:
        require_positive("members", (self.members,))
        check_plan(self.plan, self.slots)
        for slot in self.slots:
            require(slot.name in self.sources, f"{self.name}: slot {slot.name!r} has no source")
            generated = self.sources[slot.name] is Source.GENERATED
            require(
                generated is (slot.name in self.plan.assembly),
                f"{self.name}: slot {slot.name!r} is {self.sources[slot.name]}, and the chunk plan "
                + ("does not assemble it" if generated else "assembles it"),
            )
        unshared = next((name for name in sorted(self.guarded) if self.sources.get(name) is not Source.SHARED), None)
        require(unshared is None, f"{self.name}: slot {unshared!r} is not shared: only shared slots can be guarded too")
        require(not self.plan.hypernets or self.hypernet is not None, f"{self.name}: a plan needs a HypernetSpec")

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: nothing can change it. Its read-only mappings, of which there are no copies, would be in the way."""
        return self


def stored_tensors(spec: GeneratorSpec) -> tuple[StoredTensor, ...]:
    """Every tensor that a generator stores: internal hypernetworks first, then the slots that are not generated."""
    return tuple(_stored(spec))


def _stored(spec: GeneratorSpec) -> Iterator[StoredTensor]:
    if spec.hypernet is not None:
        joined = joined_bases(spec.plan)
        for hypernet in spec.plan.hypernets:
            unit = joined[hypernet.name].row if hypernet.name in joined else hypernet.chunk_size
            yield from _stored_hypernet(hypernet, spec.hypernet, spec.members, unit)
    for slot in spec.slots:
        source = spec.sources[slot.name]
        if source is not Source.GENERATED:
            yield stored_as(slot, spec.members, shared=source is Source.SHARED)


def _stored_hypernet(
    hypernet: InternalHypernet, settings: HypernetSpec, members: int, unit: int
) -> Iterator[StoredTensor]:
    def tensor(suffix: str, shape: tuple[int, ...], kind: StoredKind) -> StoredTensor:
        name = f"hypernet.{hypernet.name}.{suffix}"
        return StoredTensor(name=name, shape=shape, kind=kind, hypernet=hypernet.name)

    yield tensor("embedding", (members, hypernet.chunks, hypernet.embedding_size), StoredKind.EMBEDDING)
    size = hypernet.embedding_size
    for number, hidden in enumerate(settings.hidden_layers, start=1):
        yield tensor(f"hidden{number}.weight", (size, hidden), StoredKind.HIDDEN)
        if settings.bias:
            yield tensor(f"hidden{number}.bias", (hidden,), StoredKind.HIDDEN_BIAS)
        size = hidden
    yield from stored_basis(tensor("basis", (size, hypernet.chunk_size), StoredKind.BASIS), settings.basis_dtype, unit)
    if settings.bias:
        yield tensor("bias", (hypernet.chunk_size,), StoredKind.BASIS_BIAS)
