"""Template banks as internal hypernetworks: a template is a row of a basis, a layer's coefficients are its embeddings.

That code's chunks alternate along the input channels, ours lie beside each other. So the feature maps are put into
another order, all through the network: where the maps of a group's input are in the order `p` (`p[i]` is that code's
number of our map `i`), those of the group are in the order `2 p[c] + s`, all `c` of `s = 0` first. Then a chunk of ours
is one of that code's with its rows and columns in another order, the same for every chunk of a bank. Where the first
convolution of a group has a bank of its own, the columns of the group's chunks stay as they are.

A layer without a bank that has to be generated (all convolutions are, or none) adds its own chunks as rows, and takes
each once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.hypernet.plan import Piece
from hnexport.networks.wide_resnet.checkpoints.late_phase.kernels import HEAD, plain
from hnexport.networks.wide_resnet.checkpoints.late_phase.layers import COEFFICIENTS, Layer
from hnexport.networks.wide_resnet.spec import WideResNetSpec

__all__ = ["Orders", "Rows", "orders_of"]


@dataclass(frozen=True, kw_only=True)
class Orders:
    """In which order the feature maps of the input layer and of the three groups are, by that code's numbers.

    Attributes:
        streams: of the input layer's maps and of each group's.
        columns: of the input channels of each group's chunks.
    """

    streams: tuple[Tensor, ...]
    columns: tuple[Tensor, ...]

    def of(self, module: str) -> tuple[Tensor | None, Tensor | None]:
        """The orders of the maps that a module of ours (`group1.block1.conv1`) gives and takes; None is as they are."""
        if module == "input":
            return self.streams[0], None
        if module in ("norm", "output"):
            return (self.streams[3], None) if module == "norm" else (None, self.streams[3])
        group, block, layer = module.split(".")
        own = int(group.removeprefix("group"))
        before = self.streams[own - 1 if block == "block1" else own]
        if layer == "norm1":
            return before, None
        if layer == "norm2":
            return self.streams[own], None
        return self.streams[own], before if layer in ("conv1", "shortcut") else self.streams[own]

    def in_chunks(self, hypernet: str) -> Tensor | None:
        """The order of the input channels in the chunks of an internal hypernetwork of ours."""
        if hypernet == "input":
            return None
        if hypernet == "output":
            return self.streams[3]
        kind, first = hypernet.rstrip("123"), hypernet.endswith(".first")
        number = int(hypernet.removeprefix("shortcut").removeprefix("group").partition(".")[0])
        return self.streams[number - 1] if first or kind == "shortcut" else self.columns[number - 1]


def orders_of(network: WideResNetSpec) -> Orders:
    """The orders in which the chunks of a network's template banks lie beside each other."""
    first, *widths = network.widths
    if any(width % 2 for width in widths):  # such a network has no banks of halves
        streams = [torch.arange(width) for width in network.widths]
        return Orders(streams=tuple(streams), columns=tuple(streams[1:]))
    keeps = widths[0] == first  # then its own chunks are halves as well
    streams, columns = [_alternating(torch.arange(first // 2)) if keeps else torch.arange(first)], []
    for before, width in zip((first, *widths), widths, strict=False):
        columns.append(streams[-1] if width == 2 * before else torch.arange(width // 2))
        streams.append(_alternating(columns[-1]))
    return Orders(streams=tuple(streams), columns=tuple(columns))


def _alternating(columns: Tensor) -> Tensor:
    return torch.cat([2 * columns, 2 * columns + 1])


@dataclass(kw_only=True)
class Rows:
    """What one internal hypernetwork is made of, layer by layer.

    Attributes:
        columns: the order of the input channels of its chunks; None is as they are.
        rows: of the basis, several at a time.
        uses: for each chunk the first row that it takes, and how much of it and of those after it each member takes,
            `[member, row]`.
    """

    members: int
    columns: Tensor | None
    rows: list[Tensor] = field(default_factory=list)
    uses: dict[int, tuple[int, Tensor]] = field(default_factory=dict)
    _bank: tuple[int, Mapping[str, Tensor]] | None = None

    def add(self, layer: Layer, chunks: Sequence[Piece], orders: tuple[Tensor | None, Tensor | None]) -> None:
        """Add a layer that is made of `chunks`.

        Args:
            orders: of the maps that it gives and takes.

        Raises:
            CheckpointError: it has another number of chunks, or another bank than the layers before it.
        """
        if not layer.templates:
            self._add_plain(layer, chunks, orders)
            return
        split = layer.members[0][COEFFICIENTS].shape[1]
        if split != len(chunks):
            raise CheckpointError(
                f"tensor '{layer.own}.0': expected coefficients of {len(chunks)} chunks a layer, found {split}"
            )
        if self._bank is None:
            self._bank = (self._height, layer.templates)
            self.rows.append(_template_rows(layer, orders[0], self.columns))
        start, bank = self._bank
        if not all(tensor is bank[leaf] or torch.equal(tensor, bank[leaf]) for leaf, tensor in layer.templates.items()):
            raise CheckpointError(
                f"tensor '{layer.name}.bank.templates.weight' differs from that of other layers of its bank"
            )
        for number, chunk in enumerate(chunks):
            own = [layer.of(member)[COEFFICIENTS][:, number] for member in range(self.members)]
            self.uses[chunk.chunk] = (start, torch.stack(own))

    @property
    def basis(self) -> Tensor:
        """`[row, chunk's elements]`."""
        return torch.cat(self.rows)

    @property
    def embedding(self) -> Tensor:
        """`[member, chunk, row]`."""
        found = torch.zeros(self.members, len(self.uses), self._height, dtype=torch.float64)
        for chunk, (start, taken) in self.uses.items():
            found[:, chunk, start : start + taken.shape[1]] = taken
        return found

    @property
    def _height(self) -> int:
        return sum(len(rows) for rows in self.rows)

    def _add_plain(self, layer: Layer, chunks: Sequence[Piece], orders: tuple[Tensor | None, Tensor | None]) -> None:
        kernels = [reordered(own["weight"], orders) for own in plain(layer).members]
        taken = torch.eye(len(kernels)) if len(kernels) > 1 else torch.ones(self.members, 1)
        parts = [kernel.tensor_split(len(chunks), dim=1) for kernel in kernels]
        for number, chunk in enumerate(chunks):
            self.uses[chunk.chunk] = (self._height, taken)
            self.rows.append(torch.stack([part[number].flatten() for part in parts]))


def reordered(tensor: Tensor, orders: tuple[Tensor | None, Tensor | None]) -> Tensor:
    """A tensor `[out, …]` or `[out, in, …]` with its maps in other orders."""
    given, taken = orders
    tensor = tensor if given is None else tensor[given]
    return tensor if taken is None or tensor.dim() < 2 else tensor[:, taken]


def _template_rows(layer: Layer, given: Tensor | None, columns: Tensor | None) -> Tensor:
    """The templates as rows of a basis: an output layer's with their bias."""
    weight = layer.templates["weight"].movedim(-1, 0).movedim(-1, 2)  # [template, out, in, …]
    weight = weight if given is None else weight[:, given]
    rows = (weight if columns is None else weight[:, :, columns]).flatten(1)
    return torch.cat([rows, layer.templates["bias"].t()], dim=1) if layer.name == HEAD else rows
