"""Bases by output channel: the layout in which a layer's chunks come out already joined.

Where layers are made of several chunks joined along their input channels, a basis `[embedding, chunk]` gives chunks
that have to be copied twice: apart from each other, then together. Seen as `[out_channel, embedding, row]`, a row being
all that one output channel has in one chunk, the product with the chunk embeddings `[chunks, embedding]` is
`[out_channel, chunks, row]`: a layer's chunks lie beside each other in each output channel, and one split is left.

Checkpoints, TorchScript and .pt2 keep `[embedding, chunk]` (PyTorch multiplies a strided view just as fast); the ONNX
files store the permuted basis, of the same size. Standard library only.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hnexport.networks.wide_resnet.chunking import ChunkPlan, InternalHypernet

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JoinedBasis", "joined_bases"]


@dataclass(frozen=True, kw_only=True)
class JoinedBasis:
    """An internal hypernetwork whose chunks are joined.

    Attributes:
        layers: the slots that it generates, in the order of their chunks.
        chunks_per_layer: likewise.
    """

    hypernet: InternalHypernet
    layers: tuple[str, ...]
    chunks_per_layer: tuple[int, ...]

    @property
    def out_channels(self) -> int:
        """Output channels of every chunk."""
        return self.hypernet.parts[0].shape[0]

    @property
    def row(self) -> int:
        """Elements of one output channel in one chunk."""
        return self.hypernet.chunk_size // self.out_channels

    def lay_out(self, basis: "Tensor") -> "Tensor":
        """A basis `[embedding, chunk]` as a view `[out_channel, embedding, row]`."""
        return basis.reshape(-1, self.out_channels, self.row).transpose(0, 1)


def joined_bases(plan: ChunkPlan) -> dict[str, JoinedBasis]:
    """The internal hypernetworks that generate kernels alone and join several chunks for a layer, by name."""
    joined = {}
    for hypernet in plan.hypernets:
        layers = {slot: pieces for slot, pieces in plan.assembly.items() if pieces[0].hypernet == hypernet.name}
        if len(hypernet.parts) == 1 and any(len(pieces) > 1 for pieces in layers.values()):
            joined[hypernet.name] = JoinedBasis(
                hypernet=hypernet,
                layers=tuple(layers),
                chunks_per_layer=tuple(len(pieces) for pieces in layers.values()),
            )
    return joined
