"""From a list of modules to an ensemble: one network, and what differs between its members stacked."""

import weakref
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from hnexport.dotted import is_same
from hnexport.ensemble import Ensemble
from hnexport.errors import SpecError
from hnexport.families import MODULES
from hnexport.networks.modules.first import FirstMember
from hnexport.networks.modules.inputs import Axes, read_inputs
from hnexport.networks.modules.members import check_module, on_cpu
from hnexport.networks.modules.names import check_name, check_names, default_name
from hnexport.networks.modules.outputs import Outputs
from hnexport.networks.modules.stacked import Stacked
from hnexport.networks.modules.trials import differing, outputs_of
from hnexport.spec import Signature, Slot, StoredTensor, stored_as
from hnexport.spec.source import EnsembleSource
from hnexport.text import number_of

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
        first = first or FirstMember(module, read_inputs(module, example_inputs, dynamic_axes), outputs)
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
        origin=f"{number_of(len(expected), 'module')} {kind}" if origin is None else origin,
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
