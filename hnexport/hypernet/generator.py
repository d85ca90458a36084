"""The hypernetwork as a module: a condition id in, every tensor of the main network out, by slot name."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.dotted import named_tensors
from hnexport.ensemble import OverTensors
from hnexport.errors import CheckpointError
from hnexport.hypernet.layout import joined_bases
from hnexport.hypernet.storage import stored_tensors
from hnexport.networks.wide_resnet.chunking import InternalHypernet, plan_chunks
from hnexport.networks.wide_resnet.slots import Role, Slot, network_slots, slot_source
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spec import Activation, BasisDtype, HypernetSpec, Source

__all__ = ["ACTIVATIONS", "WeightGenerator", "check_tensors"]

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    Activation.RELU: F.relu,
    Activation.TANH: torch.tanh,
    Activation.SIGMOID: torch.sigmoid,
    Activation.ELU: F.elu,
    Activation.NONE: lambda x: x,
}


class WeightGenerator(nn.Module):
    """Turns a condition id into the main network's tensors.

    It stores exactly the tensors of `hnexport.hypernet.storage.stored_tensors`, under their names: weights as
    parameters, batch-norm statistics as buffers. Bases in float16 are cast to the dtype of the embeddings, which is
    exact, before they are multiplied.

    A condition id that does not exist never yields usable weights: the id is clamped, so that no runtime reads out of
    bounds, and a NaN is added to everything that depends on the member and to the output layer, so that no runtime
    returns a prediction.
    """

    def __init__(self, spec: PipelineSpec, tensors: Mapping[str, Tensor]) -> None:
        """Take `tensors` as they are, without a copy.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of the wrong shape or dtype.
        """
        super().__init__()
        self.spec = spec
        plan = plan_chunks(spec)
        self._hypernets, self._assembly = plan.hypernets, plan.assembly
        self._joined = joined_bases(plan)
        self._slots = network_slots(spec.network)
        check_tensors(spec, tensors)
        for stored in stored_tensors(spec):
            owner, leaf = _owner(self, stored.name)
            if stored.is_weight:
                owner.register_parameter(leaf, nn.Parameter(tensors[stored.name], requires_grad=False))
            else:
                owner.register_buffer(leaf, tensors[stored.name])

    def forward(self, cond_id: Tensor) -> dict[str, Tensor]:
        """`cond_id`: int64 scalar; returns every slot's tensor, float, in the order of `network_slots`."""
        given = cond_id.reshape(1)  # one element throughout: CoreML clamps and compares no scalars
        row = given.clamp(0, self.spec.members - 1)
        # 0-dim in the end: it takes the dtype of what it is added to.
        guard = torch.where(row == given, 0.0, float("nan")).reshape(())
        chunks = {hypernet.name: self._chunks(hypernet, row, guard) for hypernet in self._hypernets}
        weights = {}
        for slot in self._slots:
            source = slot_source(self.spec, slot)
            if source is Source.GENERATED:
                weight = self._assemble(slot, chunks)
            elif source is Source.MEMBER:
                weight = self.get(f"member.{slot.name}").index_select(0, row).reshape(slot.shape) + guard
            else:
                weight = self.get(f"shared.{slot.name}")
                if slot.role in (Role.OUTPUT_WEIGHT, Role.OUTPUT_BIAS):
                    weight = weight + guard
            weights[slot.name] = weight
        return weights

    def laid_out(self) -> nn.Module:
        """The same generator over joined bases by output channel, views of its own; see `hnexport.hypernet.layout`."""
        bases = {f"hypernet.{name}.basis": joined for name, joined in self._joined.items()}
        tensors = dict(named_tensors(self))
        for name, joined in bases.items():
            tensors[name] = joined.lay_out(tensors[name])
        return OverTensors(self, {name: tensor.detach() for name, tensor in tensors.items()}).eval()

    def get(self, name: str) -> Tensor:
        """A stored tensor by its name; raises AttributeError where there is none."""
        owner, _, leaf = name.rpartition(".")
        return getattr(self.get_submodule(owner), leaf)  # type: ignore[no-any-return]

    def _chunks(self, hypernet: InternalHypernet, row: Tensor, guard: Tensor) -> tuple[Tensor, ...]:
        """All chunks of one internal hypernetwork, each `[1, chunk]`; joined ones layer by layer.

        The latter are `[out_channel, layer's chunks, row]`, see `hnexport.hypernet.layout`.
        """
        settings = self.spec.hypernet or HypernetSpec()  # a plan without one has no internal hypernetworks
        prefix = f"hypernet.{hypernet.name}"
        shape = (hypernet.chunks, hypernet.embedding_size)
        hidden = self.get(f"{prefix}.embedding").index_select(0, row).reshape(shape) + guard
        for number in range(1, len(settings.hidden_layers) + 1):
            hidden = hidden @ self.get(f"{prefix}.hidden{number}.weight")
            if settings.bias:
                hidden = hidden + self.get(f"{prefix}.hidden{number}.bias")
            hidden = ACTIVATIONS[settings.activation](hidden)
        basis, joined = self.get(f"{prefix}.basis"), self._joined.get(hypernet.name)
        if joined is not None and basis.dim() == 2:
            basis = joined.lay_out(basis)
        if settings.basis_dtype is BasisDtype.FLOAT16:
            basis = basis.to(hidden.dtype)
        chunks = torch.matmul(hidden, basis)
        if settings.bias:
            bias = self.get(f"{prefix}.bias")
            chunks = chunks + (bias if joined is None else bias.reshape(joined.out_channels, 1, joined.row))
        if joined is not None:
            return torch.split(chunks, list(joined.chunks_per_layer), dim=1)
        return torch.split(chunks, 1) if hypernet.chunks > 1 else (chunks,)

    def _assemble(self, slot: Slot, chunks: Mapping[str, tuple[Tensor, ...]]) -> Tensor:
        """Join a slot's pieces along the input channels."""
        pieces = self._assembly[slot.name]
        joined = self._joined.get(pieces[0].hypernet)
        if joined is not None:
            return chunks[pieces[0].hypernet][joined.layers.index(slot.name)].reshape(slot.shape)
        parts = []
        for piece in pieces:
            chunk, part = chunks[piece.hypernet][piece.chunk], piece.part
            if part.size != chunk.shape[1]:
                chunk = chunk.narrow(1, part.offset, part.size)
            parts.append(chunk.reshape(part.shape))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule that should own a dotted name, made where it is missing, and the name's last part."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module._modules[part]  # type: ignore[assignment]
    return module, leaf


def check_tensors(spec: PipelineSpec, tensors: Mapping[str, Tensor]) -> None:
    """Check that `tensors` are those that `spec` stores: names, shapes, floating-point dtypes.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of the wrong shape or dtype.
    """
    expected = {stored.name: stored.shape for stored in stored_tensors(spec)}
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    if missing or unknown:
        what = f"tensor {missing[0]!r} is missing" if missing else f"tensor {unknown[0]!r} belongs to no slot"
        others = len(missing) + len(unknown) - 1
        raise CheckpointError(f"{what} for {spec.name}" + (f" (and {others} more differ)" if others else ""))
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(f"tensor {name!r}: expected shape {list(shape)}, found {list(tensors[name].shape)}")
        if not tensors[name].is_floating_point():
            raise CheckpointError(f"tensor {name!r}: expected a floating-point dtype, found {tensors[name].dtype}")
