"""From a list of modules to an ensemble: one network, and what differs between its members stacked."""

import weakref
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hnexport.dotted import is_same, named_tensors
from hnexport.ensemble import Ensemble
from hnexport.errors import SpecError
from hnexport.families import MODULES
from hnexport.networks.modules.compare import first_difference, tensor_difference, tying_difference
from hnexport.networks.modules.inputs import Axes, Inputs, read_inputs
from hnexport.networks.modules.members import check_finite, check_module, on_cpu, owners
from hnexport.networks.modules.names import check_name, check_names, default_name
from hnexport.networks.modules.outputs import Outputs, read_outputs
from hnexport.networks.modules.refusals import check_program
from hnexport.networks.modules.stacked import Stacked
from hnexport.networks.modules.tensors import dtype_name
from hnexport.networks.modules.traced import trace
from hnexport.networks.modules.trials import check_samples, check_sizes, differing, outputs_of
from hnexport.source import EnsembleSource
from hnexport.spec import Signature, Slot, StoredTensor, stored_as

__all__ = ["ensemble_from_modules"]


def ensemble_from_modules(
    modules: Iterable[nn.Module],
    *,
    example_inputs: object,
    dynamic_axes: Axes | None = None,
    outputs: Outputs = None,
    name: str | None = None,
    origin: str | None = None,
) -> Ensemble:
    """See `hnexport.ensemble.Ensemble.from_modules`."""
    if not isinstance(modules, Iterable) or isinstance(modules, nn.Sequential | Mapping | str):
        raise SpecError(f"expected a list of modules, found one {type(modules).__name__}: give [net0, net1, …]")
    first, tensors, expected = None, [], []
    seen: list[weakref.ref[nn.Module]] = []
    for number, given in enumerate(modules):
        where = f"member {number}"
        module = on_cpu(where, check_module(where, given))
        _check_new(where, given, seen)
        first = first or _First(module, read_inputs(module, example_inputs, dynamic_axes), outputs)
        tensors.append(first.tensors_of(where, module))
        expected.append(outputs_of(module, first.inputs.examples))
        del module, given  # an iterator of modules lets go of them here
    if first is None:
        raise SpecError("the list of modules is empty: give at least one")
    kind = type(first.module).__name__
    signature = Signature(inputs=first.inputs.specs, outputs=first.outputs)
    stored, values = _stack(first.slots, tensors)
    check_names(signature, first.slots, stored)
    ensemble = Ensemble(
        name=check_name(default_name(kind, len(expected)) if name is None else name),
        origin=f"{len(expected)} modules {kind}" if origin is None else origin,
        members=len(expected),
        signature=signature,
        slots=first.slots,
        stored=stored,
        generator=Stacked(stored, len(expected), values).eval(),
        network=first.module,
        examples=first.inputs.examples,
        dynamic=first.inputs.dynamic,
        source=EnsembleSource(family=MODULES),
    )
    for member, wanted in enumerate(expected):
        found = list(ensemble(member, ensemble.examples).values())
        output = differing(found, wanted, first.outputs)
        if output is not None:
            raise SpecError(
                f"member {member} depends on more than its tensors: with them in member 0, the output {output} is "
                "another; members may differ in parameters and buffers only"
            )
    return ensemble


class _First:
    """The first member: its graph is what all others have to compute, with tensors of their own."""

    def __init__(self, module: nn.Module, inputs: Inputs, outputs: Outputs) -> None:
        self.module, self.inputs = module, inputs
        program, self._traced = trace("member 0", module, inputs)
        self._owners = owners(module)
        self.outputs = read_outputs(program, inputs, outputs)
        Signature(inputs=inputs.specs, outputs=self.outputs)  # its checks, before anything runs
        check_program(program)
        self.slots = self._slots()
        self._check_numbers(program)

    def tensors_of(self, where: str, module: nn.Module) -> dict[str, Tensor]:
        """The tensors of the slots that are no alias, of a member that is like the first but for them."""
        own = named_tensors(module)
        names = [slot.name for slot in self.slots if slot.alias_of is None]
        if module is not self.module:
            mine = named_tensors(self.module)
            difference = tensor_difference({slot.name: mine[slot.name] for slot in self.slots}, own)
            difference = difference or tying_difference(self._owners, owners(module))
            difference = difference or first_difference(self._traced, trace(where, module, self.inputs)[1])
            if difference is not None:
                raise SpecError(f"{where} differs from member 0 in more than its tensors: {difference}")
        check_finite(where, ((name, own[name]) for name in names))
        return {name: own[name].detach() for name in names}

    def _slots(self) -> tuple[Slot, ...]:
        used = {self._owners[name] for name in self._traced.used}
        tensors = named_tensors(self.module)
        return tuple(
            Slot(
                name=name,
                dtype=dtype_name(f"member 0: {name}", tensors[name]),
                shape=tuple(tensors[name].shape),
                trained=isinstance(tensors[name], nn.Parameter) and tensors[name].is_floating_point(),
                alias_of=None if owner == name else owner,
            )
            for name, owner in self._owners.items()
            if owner in used
        )

    def _check_numbers(self, program: ExportedProgram) -> None:
        check_sizes(self.module, program, self.inputs, self.outputs)
        check_samples(self.module, self.inputs, self.outputs)


def _check_new(where: str, module: nn.Module, seen: list[weakref.ref[nn.Module]]) -> None:
    for number, before in enumerate(seen):
        if before() is module:
            raise SpecError(
                f"{where} is the same object as member {number}: give each member as a module of its own "
                "(where one is loaded again and again, `copy.deepcopy` it)"
            )
    seen.append(weakref.ref(module))


def _stack(
    slots: tuple[Slot, ...], members: list[dict[str, Tensor]]
) -> tuple[tuple[StoredTensor, ...], Mapping[str, Tensor]]:
    """Each slot's tensors as one that is stored; those of the members are let go of one slot after the other."""
    taken, stored, values = {slot.name for slot in slots}, [], {}
    for slot in slots:
        if slot.alias_of is not None:
            continue
        tensors = [member.pop(slot.name) for member in members]
        shared = stored_as(slot, len(members), shared=True)
        equal = all(is_same(tensors[0], other) for other in tensors[1:]) and shared.name not in taken
        item = shared if equal else stored_as(slot, len(members), shared=False)
        stored.append(item)
        values[item.name] = tensors[0].clone().contiguous() if equal else torch.stack(tensors)
    return tuple(stored), values
