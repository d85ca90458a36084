"""What a PyTorch program computes on the way, and the tensors that it gives its operators."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.parity.trace.following import Following, Sources, operation
from hnexport.parity.trace.observed import Call, Given, Trace

__all__ = ["trace_torch"]

Array = NDArray[np.generic]

# Which arguments of an operator are which tensors of a layer; those marked with a `t` lie transposed.
_ROLES: Mapping[str, Mapping[int, str]] = {
    "convolution": {1: "weight", 2: "bias"},
    "batch_norm": {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    "layer_norm": {2: "weight", 3: "bias"},
    "group_norm": {1: "weight", 2: "bias"},
    "addmm": {0: "bias", 2: "weight t"},
    "mm": {1: "weight t"},
    "embedding": {0: "weight"},
    "_prelu_kernel": {1: "weight"},
}
_SUMS = ("add", "add_", "addmm")
"""Where biases meet before anything of the inputs does: those of a recurrent step, at its zero state."""
_WITHIN_NAMES = ("convolution", "batch_norm", "layer_norm", "group_norm")  # `mkldnn_convolution`, `native_layer_norm`


def trace_torch(
    program: Callable[[Tensor, dict[str, Tensor]], Mapping[str, Tensor]],
    cond_id: int,
    inputs: Mapping[str, Array],
    device: str = "cpu",
    *,
    values: bool = False,
    shapes: Collection[tuple[int, ...]] = (),
    conditions: Collection[str] = (),
) -> Trace:
    """Run a program `(cond_id, inputs) -> outputs`, both by name, and record what its operators are given.

    Args:
        values: whether to keep every floating-point value too.
        conditions: the inputs that weights are generated from: what depends on them alone is given to operators.
        shapes: tensors that do not depend on the inputs are kept where they have one of these.
    """
    given = {name: torch.from_numpy(np.array(array)).to(device) for name, array in inputs.items()}
    followed = tuple(tensor for name, tensor in given.items() if name not in conditions)
    recorder = _Recorder(followed, keep_values=values, shapes=shapes)
    with torch.no_grad(), recorder:
        results = program(torch.tensor(cond_id, device=device), given)
    return Trace(
        given=Given(named={}, calls=tuple(recorder.calls), loose=recorder.loose()),
        values=recorder.values,
        outputs={name: _array(tensor) for name, tensor in results.items()},
    )


class _Recorder(Following):  # type: ignore[no-untyped-call]
    """Records calls, tensors of some shapes and, if asked, every value."""

    def __init__(self, inputs: Sequence[Tensor], *, keep_values: bool, shapes: Collection[tuple[int, ...]]) -> None:
        super().__init__(inputs)
        self._keep_values, self._shapes = keep_values, set(shapes)
        self._loose: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Tensor] = {}
        self.calls: list[Call] = []
        self.values: dict[str, Array] = {}

    def loose(self) -> tuple[Array, ...]:
        """The tensors of the shapes that were asked for, and biases that are added to each other."""
        return tuple(_array(tensor) for tensor in self._loose.values())

    def fixed(self, operator: Any, operands: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        adds = operation(operator) in _SUMS
        for tensor in (*operands, *results):
            if tuple(tensor.shape) in self._shapes or (adds and tensor.dim() == 1):
                place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
                self._loose.setdefault(place, tensor)
        if self._keep_values:
            for tensor in results:
                self._keep(self._name(operator), tensor)

    def computed(
        self, operator: Any, args: tuple[Any, ...], operands: Sequence[Tensor], result: Tensor, sources: Sources
    ) -> Sources:
        name = self._name(operator)
        fixed = [tensor for tensor in operands if self.sources(tensor) is None and tensor is not result]
        if fixed and not (self.calls and self.calls[-1].name == name):
            self.calls.append(Call(name=name, tensors=_by_role(operator, args, fixed)))
        if self._keep_values:
            self._keep(name, result)
        return ()

    def _name(self, operator: Any) -> str:
        return f"{self.step}/{operation(operator)}"

    def _keep(self, name: str, tensor: Tensor) -> None:
        if tensor.is_floating_point() and tensor.numel():
            name = f"{name}.{len(self.values)}" if name in self.values else name
            self.values[name] = _array(tensor.clone())  # a later operator may work in place


def _by_role(operator: Any, args: tuple[Any, ...], fixed: Sequence[Tensor]) -> dict[str, Array]:
    """The tensors among an operator's arguments that do not depend on the inputs."""
    roles = _roles(operation(operator))
    tensors: dict[str, Array] = {}
    named: set[int] = set()
    for position, role in roles.items():
        tensor = args[position] if position < len(args) else None
        if isinstance(tensor, Tensor) and any(tensor is one for one in fixed):
            name, _, turned = role.partition(" ")
            tensors[name] = _array(tensor.t() if turned else tensor)
            named.add(id(tensor))
    others = [tensor for tensor in fixed if id(tensor) not in named]
    return {**tensors, **{str(number): _array(tensor) for number, tensor in enumerate(others)}}


def _roles(operator: str) -> Mapping[int, str]:
    for part in _WITHIN_NAMES:
        if part in operator:
            return _ROLES[part]
    return _ROLES.get(operator, {})


def _array(tensor: Tensor) -> Array:
    plain = tensor.detach().dequantize() if tensor.is_quantized else tensor.detach()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).cpu().numpy()  # numpy has no bfloat16
