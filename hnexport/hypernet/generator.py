"""The hypernetwork as a module: a condition id in, every slot's tensor out, by name."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.dotted import OverTensors, named_tensors, register
from hnexport.errors import CheckpointError
from hnexport.hypernet.joined import joined_bases
from hnexport.hypernet.plan import InternalHypernet
from hnexport.hypernet.quantised import dequantised
from hnexport.hypernet.storage import GeneratorSpec, stored_tensors
from hnexport.names import GUARD, MEMBER_PREFIX, SHARED_PREFIX
from hnexport.spec import Activation, BasisDtype, HypernetSpec, Slot, Source, StoredTensor
from hnexport.spec.bases import scales_of
from hnexport.spec.tensors import FLOATING

__all__ = ["ACTIVATIONS", "WeightGenerator", "check_tensors"]

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    Activation.RELU: F.relu,
    Activation.TANH: torch.tanh,
    Activation.SIGMOID: torch.sigmoid,
    Activation.ELU: F.elu,
    Activation.NONE: lambda x: x,
}
"""What stands between the layers of an internal hypernetwork, as a function of a tensor."""


class WeightGenerator(nn.Module):
    """Turns a condition id into a network's tensors.

    It stores exactly the tensors of `hnexport.hypernet.storage.stored_tensors`, under their names: what is trained as
    parameters, the others as buffers. Bases in float16 are cast to the dtype of the embeddings, and quantised ones made
    of integers and scales in it, which is exact, before they are multiplied.

    A condition id that does not exist never yields usable weights: the id is clamped, so that no runtime reads out of
    bounds, and a NaN is added to every floating tensor that depends on the member and to the slots that the
    specification guards, so that no runtime returns a prediction. With `guards_outputs` it is `names.GUARD` instead.
    """

    def __init__(self, spec: GeneratorSpec, tensors: Mapping[str, Tensor]) -> None:
        """Take `tensors` as they are, without a copy.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of the wrong shape or dtype.
        """
        super().__init__()
        self.spec = spec
        self._joined = joined_bases(spec.plan)
        stored = stored_tensors(spec)
        self._scales = {basis: scales.name for basis, scales in scales_of(stored).items()}
        check_tensors(spec.name, stored, tensors)
        for item in stored:
            register(self, item.name, tensors[item.name], trained=item.trained)

    def forward(self, cond_id: Tensor) -> dict[str, Tensor]:
        """`cond_id`: int64 scalar; returns every slot's tensor, in the order of the specification's slots."""
        given = cond_id.reshape(1)  # one element throughout: CoreML clamps and compares no scalars
        row = given.clamp(0, self.spec.members - 1)
        missing = torch.where(row == given, 0.0, float("nan"))
        weights = {GUARD: missing} if self.spec.guards_outputs else {}
        # 0-dim in the end: it takes the dtype of what it is added to.
        guard = None if self.spec.guards_outputs else missing.reshape(())
        chunks = {hypernet.name: self._chunks(hypernet, row, guard) for hypernet in self.spec.plan.hypernets}
        for slot in self.spec.slots:
            source = self.spec.sources[slot.name]
            if source is Source.GENERATED:
                weight = self._assemble(slot, chunks)
            elif source is Source.MEMBER:
                weight = self.get(MEMBER_PREFIX + slot.name).index_select(0, row).reshape(slot.shape)
            else:
                weight = self.get(SHARED_PREFIX + slot.name)
            if guard is not None and (source is Source.MEMBER or slot.name in self.spec.guarded):
                weight = weight + guard if weight.is_floating_point() else weight
            weights[slot.name] = weight
        return weights

    def rearranged(self) -> nn.Module:
        """The same generator over joined bases by output channel, views of its own; see `hnexport.hypernet.joined`."""
        bases = {f"hypernet.{name}.basis": joined for name, joined in self._joined.items()}
        bases |= {self._scales[name]: joined for name, joined in bases.items() if name in self._scales}
        tensors = dict(named_tensors(self))
        for name, joined in bases.items():
            tensors[name] = joined.by_output_channel(tensors[name])
        return OverTensors(self, {name: tensor.detach() for name, tensor in tensors.items()}).eval()

    def made_bases(self) -> Mapping[str, Tensor]:
        """The bases that are stored as integers, float32 `[embedding, chunk]`, which is exact."""
        return {name: dequantised(self.get(name), self.get(scales)) for name, scales in self._scales.items()}

    def get(self, name: str) -> Tensor:
        """A stored tensor by its name; raises AttributeError where there is none."""
        owner, _, leaf = name.rpartition(".")
        return getattr(self.get_submodule(owner), leaf)  # type: ignore[no-any-return]

    def _chunks(self, hypernet: InternalHypernet, row: Tensor, guard: Tensor | None) -> tuple[Tensor, ...]:
        """All chunks of one internal hypernetwork, each `[1, chunk]`; joined ones layer by layer.

        The latter are `[out_channel, layer's chunks, row]`, see `hnexport.hypernet.joined`.
        """
        settings = self.spec.hypernet or HypernetSpec()  # a plan without one has no internal hypernetworks
        prefix = f"hypernet.{hypernet.name}"
        shape = (hypernet.chunks, hypernet.embedding_size)
        hidden = self.get(f"{prefix}.embedding").index_select(0, row).reshape(shape)
        hidden = hidden if guard is None else hidden + guard
        for number in range(1, len(settings.hidden_layers) + 1):
            hidden = hidden @ self.get(f"{prefix}.hidden{number}.weight")
            if settings.bias:
                hidden = hidden + self.get(f"{prefix}.hidden{number}.bias")
            hidden = ACTIVATIONS[settings.activation](hidden)
        basis, joined = self._basis(f"{prefix}.basis"), self._joined.get(hypernet.name)
        if joined is not None and basis.dim() == 2:
            basis = joined.by_output_channel(basis)
        if settings.basis_dtype is BasisDtype.FLOAT16:
            basis = basis.to(hidden.dtype)
        chunks = torch.matmul(hidden, basis)
        if settings.bias:
            bias = self.get(f"{prefix}.bias")
            chunks = chunks + (bias if joined is None else bias.reshape(joined.out_channels, 1, joined.row))
        if joined is not None:
            return torch.split(chunks, list(joined.chunks_per_layer), dim=1)
        return torch.split(chunks, 1) if hypernet.chunks > 1 else (chunks,)

    def _basis(self, name: str) -> Tensor:
        """A basis as it is stored, or made of its integers."""
        basis, scales = self.get(name), self._scales.get(name)
        return basis if scales is None or basis.is_floating_point() else dequantised(basis, self.get(scales))

    def _assemble(self, slot: Slot, chunks: Mapping[str, tuple[Tensor, ...]]) -> Tensor:
        """Join a slot's pieces."""
        assembly = self.spec.plan.assembly[slot.name]
        pieces = assembly.pieces
        joined = self._joined.get(pieces[0].hypernet)
        if joined is not None:
            return chunks[pieces[0].hypernet][joined.layers.index(slot.name)].reshape(slot.shape)
        axis = assembly.axis if len(pieces) > 1 else None
        parts = []
        for piece in pieces:
            chunk = chunks[piece.hypernet][piece.chunk]
            if piece.size != chunk.shape[1]:
                chunk = chunk.narrow(1, piece.offset, piece.size)
            parts.append(chunk if axis is None else chunk.reshape(piece.shape))
        if axis is not None:
            return torch.cat(parts, dim=axis)
        return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).reshape(slot.shape)


def check_tensors(name: str, stored: Iterable[StoredTensor], tensors: Mapping[str, Tensor]) -> None:
    """Check that `tensors` are those of the table: names, shapes, and floating-point dtypes where it has such.

    Args:
        name: what the tensors should be those of, for the messages.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of the wrong shape or dtype.
    """
    expected = {item.name: item for item in stored}
    missing = [key for key in expected if key not in tensors]
    unknown = [key for key in tensors if key not in expected]
    if missing or unknown:
        what = f"tensor {missing[0]!r} is missing" if missing else f"tensor {unknown[0]!r} belongs to no slot"
        others = len(missing) + len(unknown) - 1
        raise CheckpointError(f"{what} for {name}" + (f" (and {others} more differ)" if others else ""))
    for key, item in expected.items():
        found = tensors[key]
        if tuple(found.shape) != item.shape:
            raise CheckpointError(f"tensor {key!r}: expected shape {list(item.shape)}, found {list(found.shape)}")
        # The reference is computed in float64 over the same table: any floating-point dtype will do.
        floating = item.dtype in FLOATING
        if found.is_floating_point() is not floating:
            kind = "a floating-point dtype" if floating else f"dtype {item.dtype}"
            raise CheckpointError(f"tensor {key!r}: expected {kind}, found {found.dtype}")
