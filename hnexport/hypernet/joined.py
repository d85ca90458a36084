"""Bases by output channel: the order in which a layer's chunks come out already joined.

Where layers are made of several chunks joined along their second axis (the input channels of a kernel, say), a basis
`[embedding, chunk]` gives chunks that have to be copied twice: apart from each other, then together. Seen as
`[out_channel, embedding, row]`, a row being all that one output channel has in one chunk, the product with the chunk
embeddings `[chunks, embedding]` is `[out_channel, chunks, row]`: a layer's chunks lie beside each other in each output
channel, and one split is left.

Checkpoints, TorchScript and .pt2 keep `[embedding, chunk]` (PyTorch multiplies a strided view just as fast); the ONNX
files store the permuted basis, of the same size. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hnexport.hypernet.plan import Assembly, ChunkPlan, InternalHypernet

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JoinedBasis", "joined_bases"]


@dataclass(frozen=True, kw_only=True)
class JoinedBasis:
    """An internal hypernetwork whose chunks are joined.

    Attributes:
        layers: the slots that it generates, in the order of their chunks.
        chunks_per_layer: likewise.
        out_channels: the size of the first axis of every chunk.
    """

    hypernet: InternalHypernet
    layers: tuple[str, ...]
    chunks_per_layer: tuple[int, ...]
    out_channels: int

    @property
    def row(self) -> int:
        """Elements of one output channel in one chunk."""
        return self.hypernet.chunk_size // self.out_channels

    def by_output_channel(self, basis: "Tensor") -> "Tensor":
        """A basis `[embedding, chunk]` as a view `[out_channel, embedding, row]`.

        So its integers, and its scales: groups of them lie within a row.
        """
        return basis.reshape(-1, self.out_channels, basis.shape[1] // self.out_channels).transpose(0, 1)


def joined_bases(plan: ChunkPlan) -> dict[str, JoinedBasis]:
    """The internal hypernetworks, by name, that join several chunks for a slot and whose chunks can lie joined.

    They can where every slot takes whole chunks of one shape, the next ones after those of the slot before it, and
    joins them along the second axis.
    """
    joined = {}
    for hypernet in plan.hypernets:
        layers = {slot: item for slot, item in plan.assembly.items() if item.pieces[0].hypernet == hypernet.name}
        if any(len(item.pieces) > 1 for item in layers.values()) and _lie_joined(hypernet, layers):
            joined[hypernet.name] = JoinedBasis(
                hypernet=hypernet,
                layers=tuple(layers),
                chunks_per_layer=tuple(len(item.pieces) for item in layers.values()),
                out_channels=next(iter(layers.values())).pieces[0].shape[0],
            )
    return joined


def _lie_joined(hypernet: InternalHypernet, layers: Mapping[str, Assembly]) -> bool:
    pieces = [piece for item in layers.values() for piece in item.pieces]
    return (
        [(piece.hypernet, piece.chunk) for piece in pieces] == [(hypernet.name, n) for n in range(hypernet.chunks)]
        and len({piece.shape for piece in pieces}) == 1
        and pieces[0].size == hypernet.chunk_size
        and all(item.axis == 1 or len(item.pieces) == 1 for item in layers.values())
    )
