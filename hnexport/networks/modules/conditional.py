"""A module `forward(cond_id, *inputs)` as an ensemble: captured as it is, its condition the one tensor of each member.

Its weights are generated inside the network, whatever way it has. So there are no halves to take apart: the generator
gives the condition, and `network.onnx` generates the weights in every call, like `model.onnx`.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError, SpecError
from hnexport.families import MODULES
from hnexport.networks.modules.first import FirstMember
from hnexport.networks.modules.inputs import Axes, read_inputs
from hnexport.networks.modules.members import check_module, on_cpu
from hnexport.networks.modules.names import check_name, check_names, default_name
from hnexport.networks.modules.outputs import Outputs
from hnexport.networks.modules.stacked import Stacked
from hnexport.networks.modules.trials import differing, outputs_of
from hnexport.reading import shown
from hnexport.spec import Signature, stored_as
from hnexport.spec.source import EnsembleSource

__all__ = ["ensemble_from_conditional"]

_WHERE = "the module"
_CONDITION, _ZERO = "member_id", "member_zero"  # no names that an input would have
_TRIED = 32
_LOOKED_INTO = (
    "\n  where the condition id is looked into (`if task == 0`, `self.heads[task]`, `int(task)`): stack what belongs "
    "to members and select it with index_select(0, task.reshape(1))"
)


class _Conditioned(nn.Module):
    """The module with its condition as a buffer, `forward(*inputs)`.

    A zero of each member's own is added to every floating output: whoever takes the weights of a member that does not
    exist from `hypernet.onnx` gets NaN for it, which a whole number cannot be.
    """

    def __init__(self, module: nn.Module, member: int) -> None:
        super().__init__()
        self.register_buffer(_CONDITION, torch.tensor(member))
        self.register_buffer(_ZERO, torch.tensor(0.0))
        self.module = module
        parameters = list(inspect.signature(module.forward).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise SpecError(f"{_WHERE}: forward takes no condition id as its first parameter: forward(cond_id, …)")
        if len(parameters) == 1:
            raise SpecError(
                f"{_WHERE}: forward takes {parameters[0].name} alone, which would be its condition id, and no inputs: "
                "expected forward(cond_id, …); networks without one are members of a list, [net0, net1], or a network "
                "with a recipe"
            )

        def forward(*args: Any, **kwargs: Any) -> Any:
            outputs = self.module(self.member_id, *args, **kwargs)
            return pytree.tree_map_only(Tensor, lambda x: x + self.member_zero if x.is_floating_point() else x, outputs)

        forward.__signature__ = inspect.Signature(parameters[1:])  # type: ignore[attr-defined]
        self.forward = forward
        self.eval()


def ensemble_from_conditional(
    module: nn.Module,
    *,
    members: int,
    example_inputs: object,
    dynamic_axes: Axes | None = None,
    outputs: Outputs = None,
    name: str | None = None,
    origin: str | None = None,
) -> Ensemble:
    """See `hnexport.ensemble.Ensemble.from_conditional`."""
    if type(members) is not int or members < 1:
        raise SpecError(f"members: expected a whole number of at least 1, found {shown(members)}")
    module = on_cpu(_WHERE, check_module(_WHERE, module))
    given = _Conditioned(module, 0)
    inputs = read_inputs(given, example_inputs, dynamic_axes)
    try:
        first = FirstMember(given, inputs, outputs, _WHERE)
    except CaptureError as error:
        if "data-dependent" not in str(error).lower():
            raise
        raise CaptureError(f"{error}{_LOOKED_INTO}") from error
    if not any(slot.name == _CONDITION for slot in first.slots):
        raise SpecError(f"{_WHERE}: forward does not use its condition id: all members would be equal")
    own = first.tensors_of(_WHERE, given)
    slots = [slot for slot in first.slots if slot.alias_of is None]
    values_of = {_CONDITION: torch.arange(members), _ZERO: torch.zeros(members)}
    stored = tuple(stored_as(slot, members, shared=slot.name not in values_of) for slot in slots)
    values = {
        item.name: values_of[str(item.slot)] if item.is_conditional else own[str(item.slot)].clone().contiguous()
        for item in stored
    }
    signature = Signature(inputs=first.inputs.specs, outputs=first.outputs)
    check_names(signature, first.slots, stored)
    kind = type(module).__name__
    ensemble = Ensemble(
        name=check_name(default_name(kind, members) if name is None else name),
        origin=f"{kind}, captured as it is: it generates its weights in every call" if origin is None else origin,
        members=members,
        signature=signature,
        slots=first.slots,
        stored=stored,
        generator=Stacked(stored, members, values).eval(),
        network=given,
        examples=first.inputs.examples,
        dynamic=first.inputs.dynamic,
        source=EnsembleSource(family=MODULES),
    )
    _check_members(ensemble, module)
    return ensemble


def _check_members(ensemble: Ensemble, module: nn.Module) -> None:
    """The ensemble is the module called with each condition id, of the first ones and the last."""
    for member in {*range(min(ensemble.members, _TRIED)), ensemble.members - 1}:
        try:
            expected = outputs_of(_Conditioned(module, member), ensemble.examples)
        except Exception as error:
            raise SpecError(f"{_WHERE} fails for the condition id {member}: {str(error)[:400]}") from error
        found = list(ensemble(member, ensemble.examples).values())
        output = differing(found, expected, ensemble.signature.outputs)
        if output is not None:
            raise SpecError(f"{_WHERE}: captured, its output {output} is another for the condition id {member}")
