"""The hypernetwork, captured for every member: its steps as data, its tensors with names, its last layers as bases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hnexport.errors import CaptureError
from hnexport.networks.hypnettorch.alike import all_members, check_alike, is_shared
from hnexport.networks.hypnettorch.bases import Bases, with_bases
from hnexport.networks.hypnettorch.captured import generated
from hnexport.networks.hypnettorch.live import Live
from hnexport.networks.hypnettorch.names import hypernet_names
from hnexport.networks.hypnettorch.recording import Recorded
from hnexport.networks.modules.refusals import check_program
from hnexport.networks.modules.tensors import dtype_name
from hnexport.networks.steps.reading import Read, Recipe, functional, read, recipe_of
from hnexport.networks.steps.written import INPUT, OUTPUTS, STEPS, TENSOR, tensors_in, with_names
from hnexport.programs.tracing import exported
from hnexport.spec import Slot, StoredKind, StoredTensor, stored_as

__all__ = ["Hypernetwork", "captured_hypernetwork"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Hypernetwork:
    """The hypernetwork: its tensors, and its steps as data.

    Attributes:
        bases: for each basis the tensor's name in `Live.hnet`, and whether it is the other way round there.
    """

    stored: tuple[StoredTensor, ...]
    values: Mapping[str, Tensor]
    spec: Mapping[str, Any]
    bases: Mapping[str, tuple[str, bool]]


class _Hypernetwork(nn.Module):
    """A hypernetwork as it is captured for one member: vectors from outside, if any, to a tuple of weights."""

    def __init__(self, live: Live, member: int) -> None:
        super().__init__()
        self.hnet = live.hnet
        self._live = (live, member)

    def forward(self, **vectors: Tensor) -> tuple[Tensor, ...]:
        live, member = self._live
        return tuple(live.generate(member, vectors))


def captured_hypernetwork(live: Live, slots: Sequence[str | None]) -> Hypernetwork:
    """Capture the hypernetwork for every member.

    Args:
        slots: of each weight that it gives, in order.

    Raises:
        SpecError: members differ in more than tensors, or it is random, or normalises over a batch.
        CaptureError: `torch.export` refuses it, or it uses an operator that no bundle can hold.
    """
    modules = [_Hypernetwork(live, member).eval() for member in range(len(live.conditions))]
    program = _program(modules[0], live)
    check_program(program)
    first = read(modules[0], program)
    reads = [first]
    recorded = Recorded(first, modules[0], live.vectors)
    for member, module in enumerate(modules[1:], start=1):
        found = recorded.read(module)
        if found is None:
            generated(live, member)  # it says so where it fails
            found = read(module, _program(module, live))
            check_alike(f"hnet with cond_id={member}", first, found)
        reads.append(found)
    kept = [number for number, slot in enumerate(slots) if slot is not None]
    recipe = _recipe(modules[0], functional(program), first, kept, [INPUT + name for name in live.vectors])
    outputs = {str(slots[number]): value for number, value in zip(kept, recipe.outputs, strict=True)}
    return _named(live, {STEPS: recipe.steps, OUTPUTS: outputs}, reads)


def _program(module: nn.Module, live: Live) -> ExportedProgram:
    try:
        with torch.no_grad():
            return exported(module, (), live.vectors, None)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise CaptureError(f"torch.export cannot capture hnet: {reason[0][:400] if reason else error!r}") from error


def _recipe(
    module: nn.Module, program: ExportedProgram, first: Read, kept: Sequence[int], inputs: Sequence[str]
) -> Recipe:
    try:
        return recipe_of(module, program, first, kept, inputs)
    except CaptureError:  # an operator that is written otherwise among PyTorch's core ones
        table = dict(torch.export.default_decompositions())
        del table[torch.ops.aten.linear.default]
        return recipe_of(module, program.run_decompositions(table), first, kept, inputs)


def _named(live: Live, spec: dict[str, Any], reads: list[Read]) -> Hypernetwork:
    """Name the tensors, and store those that are weights as they are by their slots."""
    tensors = _tensors(spec, reads)
    spec, turned, biases = with_bases(spec, lambda number: number in tensors and tensors[number].fits_basis)
    used = _held(spec)
    direct = {value[TENSOR]: slot for slot, value in spec[OUTPUTS].items() if TENSOR in value}
    direct = {number: slot for number, slot in direct.items() if used.count(number) == 1}
    names = hypernet_names(live.hnet.root)
    renamed: dict[str, str] = {}
    stored, values = [], {}
    for number in dict.fromkeys(used):
        tensor = tensors[number]
        value = tensor.value(turned.get(number, False))
        if number in direct:
            slot = Slot(
                name=direct[number], dtype=tensor.dtype, shape=tuple(tensor.first.shape), trained=tensor.is_trained
            )
            item = stored_as(slot, len(reads), shared=tensor.shared)
        else:
            kind = tensor.kind(turned, biases)
            hypernet, name = names(tensor.path, tensor.first, kind)
            item = StoredTensor(
                name=name,
                dtype=tensor.dtype,
                shape=tuple(value.shape),
                kind=kind,
                hypernet=hypernet,
                trained=tensor.is_trained,
            )
            renamed[number] = item.name
        stored.append(item)
        values[item.name] = value
    outputs = {slot: value for slot, value in spec[OUTPUTS].items() if slot not in direct.values()}
    return Hypernetwork(
        stored=tuple(stored),
        values=values,
        spec=with_names({STEPS: spec[STEPS], OUTPUTS: outputs}, renamed),
        bases={renamed[number]: (tensors[number].path.removeprefix("hnet."), way) for number, way in turned.items()},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tensor:
    """A tensor that steps use, of all members."""

    number: str
    path: str
    of_members: Sequence[Tensor]
    shared: bool

    @property
    def first(self) -> Tensor:
        return self.of_members[0]

    @property
    def dtype(self) -> str:
        return dtype_name(f"hnet: {self.path}", self.first)

    @property
    def is_trained(self) -> bool:
        return isinstance(self.first, nn.Parameter) and self.first.is_floating_point()

    @property
    def fits_basis(self) -> bool:
        return self.shared and self.is_trained and self.first.dim() == 2 and self.first.dtype is torch.float32

    def kind(self, bases: Bases, biases: Iterable[str]) -> StoredKind:
        """What it is for."""
        if not self.shared:
            return StoredKind.EMBEDDING
        if self.number in bases:
            return StoredKind.BASIS
        if self.first.dim() > 1:
            return StoredKind.HIDDEN
        return StoredKind.BASIS_BIAS if self.number in biases else StoredKind.HIDDEN_BIAS

    def value(self, turned: bool) -> Tensor:
        """What is stored."""
        found = all_members(self.path, self.of_members, shared=self.shared)
        return found.t().contiguous() if turned else found


def _tensors(spec: Mapping[str, Any], reads: Sequence[Read]) -> dict[str, _Tensor]:
    found = {}
    for number in dict.fromkeys(_held(spec)):
        of_members = [each.tensors[int(number)][1] for each in reads]
        path = reads[0].tensors[int(number)][0]
        found[number] = _Tensor(number=number, path=path, of_members=of_members, shared=is_shared(of_members))
    return found


def _held(spec: Mapping[str, Any]) -> list[str]:
    """The tensors that steps use, without what comes from outside."""
    return [name for name in tensors_in(spec) if not name.startswith(INPUT)]
