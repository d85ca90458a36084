"""What a user shows of a network's inputs: examples by name, and which axes may have any size."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hnexport.errors import SpecError
from hnexport.networks.modules.tensors import check_dense, dtype_name
from hnexport.reading import shown
from hnexport.spec import BATCH, MEMBER, TensorSpec

__all__ = ["Axes", "Inputs", "read_inputs", "resized"]

Axes = Mapping[str, Mapping[int, Any]]
"""By input: `{axis: name}`, the name a string or a `torch.export.Dim`."""

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """The inputs of a network, in the order of its forward.

    Attributes:
        examples: on the CPU; every axis of any size is at least 2 long, so that the exporter takes no size as special.
        dynamic: for each input `{axis: name}`; axes of one name have one size.
    """

    examples: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, str]]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of each."""
        return tuple(
            TensorSpec(
                name=name,
                dtype=dtype_name(f"input {name}", tensor),
                shape=tuple(self.dynamic[name].get(axis, size) for axis, size in enumerate(tensor.shape)),
            )
            for name, tensor in self.examples.items()
        )

    @property
    def described(self) -> str:
        """`tokens int64 [batch, 12], table float32 [4, 3]`."""
        return ", ".join(f"{spec.name} {spec.dtype} [{', '.join(map(str, spec.shape))}]" for spec in self.specs)

    @property
    def sizes(self) -> dict[str, int]:
        """The size in the examples of every axis that may have any."""
        return {
            axis_name: self.examples[name].shape[axis]
            for name, axes in self.dynamic.items()
            for axis, axis_name in axes.items()
        }

    def with_sizes(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """The examples with other sizes along axes of these names, repeated or cut."""
        return {
            name: resized(tensor, {axis: sizes[of] for axis, of in self.dynamic[name].items() if of in sizes})
            for name, tensor in self.examples.items()
        }


def read_inputs(module: nn.Module, example_inputs: Any, dynamic_axes: Axes | None) -> Inputs:
    """Name the example inputs, check them, and settle which axes have any size.

    Raises:
        SpecError: they are not inputs of forward, not tensors that can be exported, or contradict the axes.
    """
    if not isinstance(dynamic_axes, Mapping | None):
        raise SpecError(f"dynamic_axes: expected {{input: {{axis: name}}}}, found {shown(dynamic_axes)}")
    given = _by_name(module, example_inputs)
    examples = {}
    for name, value in given.items():
        if not isinstance(value, Tensor):
            if type(value).__module__ == "numpy":
                raise SpecError(
                    f"the example input {name} is of numpy, only tensors can be inputs: torch.as_tensor({name})"
                )
            raise SpecError(
                f"the example input {name} is {shown(value)}: only tensors can be inputs of a graph; leave it out "
                "where forward has a default for it, or write a module whose forward sets it"
            )
        check_dense(f"the example input {name}", value)
        dtype_name(f"the example input {name}", value)
        examples[name] = value.detach().cpu()
    dynamic = {name: _axes(name, tensor, dynamic_axes or {}) for name, tensor in examples.items()}
    unknown = next((name for name in dynamic_axes or {} if name not in examples), None)
    if unknown is not None:
        raise SpecError(f"dynamic_axes: there is no input {unknown!r}, only {', '.join(examples)}")
    sizes = _sizes(examples, dynamic)
    found = Inputs(examples=examples, dynamic=dynamic)
    return Inputs(examples={name: tensor.clone() for name, tensor in found.with_sizes(sizes).items()}, dynamic=dynamic)


def resized(tensor: Tensor, sizes: Mapping[int, int]) -> Tensor:
    """A tensor repeated or cut along axes."""
    for axis, size in sizes.items():
        tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor


def _by_name(module: nn.Module, example_inputs: Any) -> dict[str, Any]:
    parameters = inspect.signature(module.forward).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind in _BY_NAME]
    if isinstance(example_inputs, Mapping):
        given = dict(example_inputs)
    else:
        values = example_inputs if isinstance(example_inputs, tuple | list) else (example_inputs,)
        given = _positional(parameters, values)
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        by_position = unknown in parameters and parameters[unknown].kind is inspect.Parameter.POSITIONAL_ONLY
        reason = "takes it by position only" if by_position else f"names no such parameter, only {known}"
        raise SpecError(f"example_inputs: {unknown!r} cannot be given by name: forward {reason}")
    missing = [
        name
        for name, parameter in parameters.items()
        if name not in given and parameter.default is parameter.empty and parameter.kind in (*_BY_POSITION, *_BY_NAME)
    ]
    if missing:
        raise SpecError(f"example_inputs: {missing[0]!r} is missing, forward needs it; given are {list(given)}")
    if not given:
        raise SpecError("example_inputs is empty: a network needs an input")
    order = [*known, *given]
    return dict(sorted(given.items(), key=lambda item: order.index(item[0])))


def _positional(parameters: Mapping[str, inspect.Parameter], values: Sequence[Any]) -> dict[str, Any]:
    names = [name for name, parameter in parameters.items() if parameter.kind in _BY_POSITION]
    if len(values) > len(names):
        several = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
        reason = "its further ones (*) have no names: write them out" if several else f"it takes {names}"
        raise SpecError(f"example_inputs: {len(values)} given, forward names {len(names)} parameters; {reason}")
    return dict(zip(names, values, strict=False))


def _axes(name: str, tensor: Tensor, dynamic_axes: Axes) -> dict[int, str]:
    if name not in dynamic_axes:
        return {0: BATCH} if tensor.dim() else {}
    given, found = dynamic_axes[name], {}
    if not isinstance(given, Mapping):
        raise SpecError(f"dynamic_axes[{name!r}]: expected {{axis: name}}, found {shown(given)}")
    for axis, of in given.items():
        axis_name = getattr(of, "__name__", of)
        if type(axis) is not int or not -tensor.dim() <= axis < tensor.dim():
            raise SpecError(f"dynamic_axes[{name!r}]: there is no axis {axis!r} in the shape {list(tensor.shape)}")
        if not isinstance(axis_name, str) or not axis_name.isidentifier() or axis_name == MEMBER:
            raise SpecError(
                f"dynamic_axes[{name!r}]: axis {axis} cannot be called {shown(of)}: a name is letters, digits and _, "
                f"and {MEMBER!r} is taken"
            )
        position = axis % tensor.dim()
        if axis_name == BATCH and position != 0:
            raise SpecError(
                f"dynamic_axes[{name!r}]: the batch must be the first axis, found at {position}: let forward take it "
                "first and transpose it, or give the axis another name"
            )
        found[position] = axis_name
    return dict(sorted(found.items()))


def _sizes(examples: Mapping[str, Tensor], dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, int]:
    """The size of each named axis, at least 2."""
    found: dict[str, tuple[int, str]] = {}
    for name, axes in dynamic.items():
        for axis, of in axes.items():
            size = examples[name].shape[axis]
            before, where = found.setdefault(of, (size, name))
            if size != before:
                raise SpecError(
                    f"the example inputs disagree about the axis {of}: {before} in {where}, {size} in {name}; "
                    f"give examples of one size, or say which axes these are: dynamic_axes={{{name!r}: {{}}}} fixes all"
                )
            if size == 0:
                raise SpecError(f"the example input {name} is empty along the axis {of}: give at least one {of} of it")
    return {of: max(size, 2) for of, (size, _) in found.items()}
