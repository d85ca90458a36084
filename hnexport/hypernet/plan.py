"""The chunk plan, as data: which internal hypernetworks there are, and from which pieces a slot is assembled.

Planners make it, each for a kind of network; what is stored, generated, exported and folded follows from it. Standard
library only.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hnexport.errors import SpecError
from hnexport.spec import Slot
from hnexport.spec.checks import require

__all__ = ["Assembly", "ChunkPlan", "InternalHypernet", "Piece", "check_plan"]


@dataclass(frozen=True, kw_only=True)
class InternalHypernet:
    """One internal hypernetwork: it turns each of its chunk embeddings into one flat chunk.

    Attributes:
        name: by which pieces and stored tensors know it.
        chunks: how many it generates for a member.
        chunk_size: elements of one chunk: the internal hypernetwork's output size.
        embedding_size: of each chunk embedding.
    """

    name: str
    chunks: int
    chunk_size: int
    embedding_size: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a slot takes of one chunk: consecutive elements, in a shape.

    Attributes:
        hypernet: the internal hypernetwork that generates the chunk, by name.
        chunk: which of its chunks, from 0.
        offset: the first element in the flat chunk.
        shape: of these elements.
    """

    hypernet: str
    chunk: int
    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """How a slot is made of its pieces.

    Attributes:
        pieces: in the order in which they are joined.
        axis: the axis along which the pieces are joined; None joins them flat, and the slot's shape is given to the
            result. Of a single piece it says nothing.
    """

    pieces: tuple[Piece, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        require(bool(self.pieces), "a slot is assembled from at least one piece")


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """All internal hypernetworks, and for each generated slot its assembly, by name.

    Attributes:
        hypernets: all of them.
        assembly: how each generated slot is made, by its name.
    """

    hypernets: tuple[InternalHypernet, ...] = ()
    assembly: Mapping[str, Assembly] = field(default_factory=dict)

    @property
    def chunks(self) -> int:
        """Chunks of one member, over all internal hypernetworks."""
        return sum(hypernet.chunks for hypernet in self.hypernets)

    @property
    def output_size(self) -> int:
        """Combined output size of the internal hypernetworks."""
        return sum(hypernet.chunk_size for hypernet in self.hypernets)


def check_plan(plan: ChunkPlan, slots: Iterable[Slot]) -> None:
    """Check that every assembly fills a slot with pieces of chunks that exist.

    Raises:
        SpecError: a slot or an internal hypernetwork is unknown, or a piece lies outside its chunk, or the pieces do
            not make up the slot.
    """
    hypernets = {hypernet.name: hypernet for hypernet in plan.hypernets}
    known = {slot.name: slot for slot in slots}
    for name, assembly in plan.assembly.items():
        if name not in known:
            raise SpecError(f"the chunk plan assembles {name!r}, which is no slot")
        for piece in assembly.pieces:
            _check_piece(name, piece, hypernets.get(piece.hypernet))
        found, shape = _assembled(assembly), known[name].shape
        flat = assembly.axis is None or len(assembly.pieces) == 1
        if found is None or (math.prod(found) != known[name].size if flat else found != shape):
            shapes = [list(piece.shape) for piece in assembly.pieces]
            how = "flat" if assembly.axis is None else f"along axis {assembly.axis}"
            raise SpecError(f"slot {name!r} of shape {list(shape)} cannot be joined {how} from pieces {shapes}")


def _check_piece(slot: str, piece: Piece, hypernet: InternalHypernet | None) -> None:
    if hypernet is None:
        raise SpecError(f"slot {slot!r} takes a piece of {piece.hypernet!r}, which is no internal hypernetwork")
    if not 0 <= piece.chunk < hypernet.chunks:
        raise SpecError(f"slot {slot!r} takes chunk {piece.chunk} of {hypernet.name}, which has {hypernet.chunks}")
    if piece.offset < 0 or piece.offset + piece.size > hypernet.chunk_size:
        raise SpecError(
            f"slot {slot!r} takes elements {piece.offset} to {piece.offset + piece.size} of a chunk of "
            f"{hypernet.name}, which has {hypernet.chunk_size}"
        )


def _assembled(assembly: Assembly) -> tuple[int, ...] | None:
    """The shape that the pieces have together; None where they do not fit each other."""
    shapes, axis = [piece.shape for piece in assembly.pieces], assembly.axis
    if axis is None or len(shapes) == 1:
        return (sum(map(math.prod, shapes)),)
    if not 0 <= axis < len(shapes[0]) or any(len(shape) != len(shapes[0]) for shape in shapes):
        return None
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(others) > 1:
        return None
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
