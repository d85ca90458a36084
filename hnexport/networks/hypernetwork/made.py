"""From a hypernetwork and a network to an ensemble: the one captured as steps, the other as it is."""

import difflib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hnexport.dotted import named_tensors
from hnexport.ensemble import Ensemble
from hnexport.errors import SpecError
from hnexport.families import HYPERNETWORK
from hnexport.names import COND_ID
from hnexport.networks.hypernetwork.captured import WHERE, captured, weights_of
from hnexport.networks.hypernetwork.given import Given, read_given
from hnexport.networks.modules.first import FirstMember
from hnexport.networks.modules.inputs import Axes, Inputs
from hnexport.networks.modules.members import check_finite, check_module, on_cpu, owners
from hnexport.networks.modules.names import check_name, check_names, default_name
from hnexport.networks.modules.outputs import Outputs
from hnexport.networks.modules.tensors import is_same_closely
from hnexport.networks.modules.trials import differing, outputs_of
from hnexport.networks.steps.generated import Generated
from hnexport.reading import shown
from hnexport.spec import Signature, Slot, stored_as
from hnexport.spec.source import EnsembleSource

__all__ = ["ensemble_from_hypernetwork"]

_NETWORK = "network"
_TRIED = 32  # members
_SAME = 1e-5  # relative L2: the same operators, in float32


def ensemble_from_hypernetwork(
    hypernet: nn.Module,
    network: nn.Module,
    *,
    members: int | None = None,
    example_inputs: object,
    dynamic_axes: Axes | None = None,
    outputs: Outputs = None,
    name: str | None = None,
    origin: str | None = None,
) -> Ensemble:
    """See `hnexport.ensemble.Ensemble.from_hypernetwork`."""
    if members is not None and (type(members) is not int or members < 1):
        raise SpecError(f"members: expected a whole number of at least 1, found {shown(members)}")
    hypernet = on_cpu(WHERE, check_module(WHERE, hypernet))
    network = on_cpu(_NETWORK, check_module(_NETWORK, network))
    given = read_given(
        hypernet, network, takes_id=members is not None, example_inputs=example_inputs, dynamic_axes=dynamic_axes
    )
    first = FirstMember(network, given.inputs, outputs, _NETWORK)
    slots = {slot.name: slot for slot in first.slots if slot.alias_of is None}
    made = weights_of(hypernet, None if members is None else 0, given.conditions.examples)
    names = _names(made, network, slots)
    found = captured(hypernet, names, slots, _of_hypernet(given.conditions, takes_id=members is not None))
    own = [slot for slot in slots.values() if slot.name not in names]
    held, count = named_tensors(network), members or 1
    check_finite(_NETWORK, ((slot.name, held[slot.name]) for slot in own))
    shared = {stored_as(slot, count, shared=True): held[slot.name].detach() for slot in own}
    stored = (*found.stored, *shared)
    values = {**found.values, **{item.name: tensor.clone().contiguous() for item, tensor in shared.items()}}
    signature = Signature(
        inputs=(*given.conditions.specs, *given.inputs.specs),
        outputs=first.outputs,
        conditions=tuple(given.conditions.examples),
    )
    check_names(signature, first.slots, stored)
    kinds = f"{type(hypernet).__name__} for {type(network).__name__}"
    ensemble = Ensemble(
        name=check_name(default_name(type(network).__name__, count) if name is None else name),
        origin=kinds if origin is None else origin,
        members=count,
        signature=signature,
        slots=first.slots,
        stored=stored,
        generator=Generated(stored, count, values, found.spec).eval(),
        network=network,
        examples={**given.conditions.examples, **given.inputs.examples},
        dynamic={**given.conditions.dynamic, **given.inputs.dynamic},
        source=EnsembleSource(family=HYPERNETWORK, spec=found.spec),
    )
    _check(ensemble, hypernet, given, takes_id=members is not None)
    return ensemble


def _of_hypernet(conditions: Inputs, *, takes_id: bool) -> Inputs:
    """What it is captured with: its condition id, where it takes one, and its conditions."""
    first = {COND_ID: torch.tensor(0)} if takes_id else {}
    fixed: Mapping[str, Mapping[int, str]] = {name: {} for name in first}
    return Inputs(examples={**first, **conditions.examples}, dynamic={**fixed, **conditions.dynamic})


def _names(made: Mapping[str, Tensor], network: nn.Module, slots: Mapping[str, Slot]) -> dict[str, str]:
    """By slot, the name under which its tensor is returned; what the network does not use is left out.

    Raises:
        SpecError: the network has no such tensor, or one of another shape or dtype.
    """
    held, first, found = named_tensors(network), owners(network), dict[str, str]()
    for name, tensor in made.items():
        if name not in held:
            near = difflib.get_close_matches(str(name), held, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(list(held)[:6]) or 'none'}"
            raise SpecError(f"{WHERE}.forward returns {shown(name)}, which is no tensor of the network; {hint}")
        wanted, own = held[name], first[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            texts = [f"{str(item.dtype).removeprefix('torch.')} {list(item.shape)}" for item in (tensor, wanted)]
            raise SpecError(f"{WHERE}.forward returns {name} as {texts[0]}, the network's is {texts[1]}")
        if own in found:
            raise SpecError(f"{WHERE}.forward returns {found[own]!r} and {name!r}, which the network ties: return one")
        if own in slots:
            found[own] = name
    if not found:
        raise SpecError(f"{WHERE}.forward returns no tensor that the network uses: nothing is generated")
    return found


def _check(ensemble: Ensemble, hypernet: nn.Module, given: Given, *, takes_id: bool) -> None:
    """The ensemble is the network with what the hypernetwork itself makes, for members and several conditions.

    Raises:
        SpecError: it is not.
    """
    members = {*range(min(ensemble.members, _TRIED)), ensemble.members - 1} if takes_id else {0}
    for number, conditions in enumerate(_tried(given.conditions.examples)):
        for member in sorted(members):
            try:
                made = weights_of(hypernet, member if takes_id else None, conditions)
            except SpecError:
                if number == 0:
                    raise
                continue  # not a condition that it takes
            where = f"{WHERE}: captured, for the condition id {member}" if takes_id else f"{WHERE}: captured,"
            _check_weights(where, ensemble, made, member, conditions)
            inputs = {**conditions, **given.inputs.examples}
            expected = outputs_of(
                lambda made=made, **x: functional_call(ensemble.network, made, (), x), given.inputs.examples
            )
            output = differing(list(ensemble(member, inputs).values()), expected, ensemble.signature.outputs)
            if output is not None:
                raise SpecError(f"{where} the network's output {output} is another")


def _check_weights(
    where: str, ensemble: Ensemble, made: Mapping[str, Tensor], member: int, conditions: Mapping[str, Tensor]
) -> None:
    with torch.no_grad():
        weights = ensemble.weights(member, conditions)
    for name, tensor in made.items():
        if name in weights and not is_same_closely(weights[name], tensor, _SAME):
            raise SpecError(f"{where} {name} is another tensor than forward gives")


def _tried(conditions: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The examples, and other numbers of the same shapes."""
    yield conditions
    random = torch.Generator().manual_seed(0)
    if conditions:
        yield {name: torch.randn(one.shape, generator=random).to(one.dtype) for name, one in conditions.items()}
