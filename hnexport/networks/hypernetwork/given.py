"""Which example inputs are the hypernetwork's conditions, and which the network's."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hnexport.errors import SpecError
from hnexport.names import RESERVED
from hnexport.networks.modules.inputs import Axes, Inputs, read_inputs
from hnexport.networks.modules.tensors import check_dense, dtype_name
from hnexport.reading import shown

__all__ = ["Given", "read_given"]

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_NEEDED = (*_BY_NAME, inspect.Parameter.POSITIONAL_ONLY)


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """The example inputs of both halves.

    Attributes:
        conditions: of the hypernetwork, in the order of its forward; all of their axes are fixed.
        inputs: of the network.
    """

    conditions: Inputs
    inputs: Inputs


def read_given(
    hypernet: nn.Module, network: nn.Module, *, takes_id: bool, example_inputs: Any, dynamic_axes: Axes | None
) -> Given:
    """Divide the example inputs by the names of both forwards' parameters.

    Args:
        takes_id: whether the first parameter of the hypernetwork's forward is the condition id.

    Raises:
        SpecError: one belongs to neither or to both, is missing, or is no condition.
    """
    takes = dict(inspect.signature(hypernet.forward).parameters)
    if takes_id:
        takes = _without_id(takes)
    names = [name for name, parameter in takes.items() if parameter.kind in _BY_NAME]
    given = example_inputs if isinstance(example_inputs, Mapping) else None
    conditions = {} if given is None else {name: given[name] for name in names if name in given}
    if given is not None:
        _check_owners(given, names, network)
    for name, parameter in takes.items():
        if name not in conditions and parameter.default is parameter.empty and parameter.kind in _NEEDED:
            raise SpecError(
                f"hypernet.forward needs {name}: give it by name, example_inputs={{{name!r}: …, …}}"
                + ("" if takes_id else "; where it is a condition id, say how many there are with members=")
            )
    if not (conditions or takes_id):
        raise SpecError("hypernet.forward takes no condition: give one by name in example_inputs, or members=")
    for name in conditions:
        if dynamic_axes and dynamic_axes.get(name):
            raise SpecError(f"dynamic_axes[{name!r}]: a condition has fixed sizes, as the weights have that come of it")
    rest = example_inputs if given is None else {name: value for name, value in given.items() if name not in conditions}
    axes = None if dynamic_axes is None else {name: of for name, of in dynamic_axes.items() if name not in conditions}
    examples = {name: _condition(name, value) for name, value in conditions.items()}
    return Given(
        conditions=Inputs(examples=examples, dynamic={name: {} for name in examples}),
        inputs=read_inputs(network, rest, axes),
    )


def _without_id(takes: dict[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    first = next(iter(takes.values()), None)
    if first is None or first.kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
        raise SpecError(
            "members= says that there are condition ids, and hypernet.forward takes none as its first parameter: "
            "forward(cond_id, …)"
        )
    return {name: parameter for name, parameter in takes.items() if parameter is not first}


def _check_owners(given: Mapping[Any, Any], names: list[str], network: nn.Module) -> None:
    own = [
        name for name, parameter in inspect.signature(network.forward).parameters.items() if parameter.kind in _BY_NAME
    ]
    for name in given:
        if name in names and name in own:
            raise SpecError(
                f"example_inputs: {name!r} is a parameter of hypernet.forward and of network.forward: an input belongs "
                "to one of them; rename one"
            )
        if name not in names and name not in own:
            raise SpecError(
                f"example_inputs: neither hypernet.forward ({', '.join(names) or 'no conditions'}) nor network.forward "
                f"({', '.join(own)}) takes {shown(name)}"
            )


def _condition(name: str, value: Any) -> Tensor:
    if name in RESERVED:
        raise SpecError(f"example_inputs: {name!r} is the condition id: say how many there are with members=")
    where = f"the condition {name}"
    if not isinstance(value, Tensor):
        raise SpecError(f"{where} is {shown(value)}, no tensor: give torch.as_tensor({name})")
    check_dense(where, value)
    if not value.is_floating_point():
        raise SpecError(f"{where} is {dtype_name(where, value)}: a condition is floating-point; let forward cast it")
    dtype_name(where, value)
    return value.detach().cpu().clone()
