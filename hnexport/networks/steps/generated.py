"""The generator of a captured hypernetwork: its steps, run over the stored tensors of one member."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from hnexport.dotted import OverTensors, named_tensors, register
from hnexport.errors import BundleError
from hnexport.hypernet.generator import check_tensors
from hnexport.hypernet.quantised import dequantised
from hnexport.hypernet.selection import selected
from hnexport.names import COND_ID, GUARD
from hnexport.networks.steps.written import DTYPE, INPUT, NUMBER, OUTPUTS, STEP, STEPS, TENSOR, tensors_in
from hnexport.reading import shown
from hnexport.spec import Slot, StoredTensor, TensorSpec
from hnexport.spec.bases import scales_of
from hnexport.spec.bounds import EXPANSION

__all__ = ["Generated", "check_generated", "is_allowed"]

_WORDS = (
    "batch_norm chunk concat contiguous conv1d conv2d dstack expand_as flatten float hstack index_select "
    "layer_norm linear log_softmax matmul movedim narrow numpy_T permute reshape reshape_as select selu silu "
    "softmax softplus split split_with_sizes squeeze stack swapaxes t tile to transpose type_as unbind unflatten "
    "unsqueeze view_as vstack "
    "addcdiv addcmul dot hardsigmoid hardswish lerp linalg_vector_norm logsumexp mish mv outer"
)
_COMPOSITE = frozenset(_WORDS.split())
"""Operators without effects that are not among PyTorch's core ones, but are made of them."""
_NEVER = frozenset({"as_strided", "empty", "empty_strided", "empty_like", "new_empty"})  # what lies in memory
_SMALL = 2**26
_MOST_ELEMENTS = 64  # times what is stored and returned


class Generated(nn.Module):
    """`cond_id -> {slot: tensor}`, and the guard.

    An id that does not exist is clamped, so that no runtime reads out of bounds; `names.GUARD` is NaN then.
    """

    def __init__(
        self, stored: tuple[StoredTensor, ...], members: int, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]
    ) -> None:
        """Take `tensors` as they are, without a copy.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of the wrong shape.
            BundleError: an operator is none that may run.
        """
        super().__init__()
        self.members = members
        self._stored = stored
        self._steps = [(_operator(name), args, named) for name, args, named in spec[STEPS]]
        self._outputs = dict(spec[OUTPUTS])
        self._takes_id = INPUT + COND_ID in tensors_in(spec)
        self._scales = {basis: scales.name for basis, scales in scales_of(stored).items()}
        check_tensors("the hypernetwork", stored, tensors)
        for item in stored:
            register(self, item.name, tensors[item.name], trained=item.trained)

    def forward(self, cond_id: Tensor, **conditions: Tensor) -> dict[str, Tensor]:
        """`cond_id`: int64 scalar, beside conditions by name; returns each slot's tensor and the guard, float32 `[1]`.

        The guard is NaN too where a condition holds a NaN.
        """
        tensors, guard = selected(self, self._stored, self.members, cond_id)
        held = {item.name: tensors[item.name] for item in self._stored if item.slot is None}
        if self._takes_id:
            held[INPUT + COND_ID] = cond_id.reshape(1).clamp(0, self.members - 1).reshape(())
        for name, scales in self._scales.items():
            if not tensors[name].is_floating_point():
                held[name] = dequantised(tensors[name], tensors[scales])
        for name, condition in conditions.items():
            held[INPUT + name] = condition
            guard = guard + torch.where(condition.isnan(), math.nan, 0.0).sum()
        weights = {item.slot: tensors[item.name] for item in self._stored if item.slot is not None}
        values: list[Any] = []
        for function, args, named in self._steps:
            by_name = {key: _decoded(value, held, values) for key, value in named.items()}
            values.append(function(*_decoded(args, held, values), **by_name))
        computed = {slot: _decoded(value, held, values) for slot, value in self._outputs.items()}
        return {GUARD: guard, **weights, **computed}

    def made_bases(self) -> Mapping[str, Tensor]:
        """The bases that are stored as integers, float32, which is exact."""
        tensors = named_tensors(self)
        return {name: dequantised(tensors[name], tensors[scales]) for name, scales in self._scales.items()}


def check_generated(generator: Generated, slots: tuple[Slot, ...], conditions: Sequence[TensorSpec] = ()) -> None:
    """Run the steps without memory first: they come from a file.

    Raises:
        BundleError: they fail, give other tensors than the slots, or take far more memory than these.
    """
    stored = sum(tensor.numel() for tensor in named_tensors(generator).values())
    most = max(_SMALL, min(_MOST_ELEMENTS, EXPANSION) * (stored + sum(slot.size for slot in slots)))
    try:
        with FakeTensorMode() as mode, torch.no_grad():
            fakes = {name: mode.from_tensor(tensor) for name, tensor in named_tensors(generator).items()}
            with _Counting(most):
                given = {
                    item.name: torch.empty([int(size) for size in item.shape], dtype=getattr(torch, item.dtype))
                    for item in conditions
                }
                found = OverTensors(generator, fakes)(mode.from_tensor(torch.tensor(0)), **given)
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(f"$.source.spec: the steps fail: {str(error).splitlines()[0][:300]}") from error
    for slot in slots:
        tensor = found.get(slot.name)
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != slot.shape:
            shape = list(tensor.shape) if isinstance(tensor, Tensor) else "nothing"
            raise BundleError(f"$.source.spec: {shown(slot.name)} gets {shape}, expected {list(slot.shape)}")


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the elements that operators give, and stops where they are too many."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left = most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator."""
        found = func(*args, **(kwargs or {}))
        self._left -= sum(tensor.numel() for tensor in _tensors(found))
        if self._left < 0:
            raise BundleError("$.source.spec: the steps compute far more than the weights that they give")
        return found


def is_allowed(function: object) -> bool:
    """Whether an operator may stand in a file: it computes from its arguments alone, and nothing random."""
    if not isinstance(function, torch._ops.OpOverload) or function.namespace != "aten":
        return False
    name = function._schema.name.removeprefix("aten::")
    if name in _NEVER or function._schema.is_mutable or torch.Tag.nondeterministic_seeded in function.tags:
        return False
    return torch.Tag.core in function.tags or name in _COMPOSITE


def _operator(name: str) -> Callable[..., Any]:
    if name == "getitem":
        return operator.getitem
    _, packet, overload = name.split(".")
    found: Any = getattr(getattr(torch.ops.aten, packet, None), overload, None)
    if not is_allowed(found):
        raise BundleError(f"$.source.spec: the operator {shown(name)} is not one that a hypernetwork may use")
    return cast("Callable[..., Any]", found)


def _decoded(value: Any, held: Mapping[str, Tensor], values: list[Any]) -> Any:
    if isinstance(value, list | tuple):
        return [_decoded(item, held, values) for item in value]
    if not isinstance(value, Mapping):
        return value
    ((key, found),) = value.items()
    if key == TENSOR:
        return held[found]
    if key == STEP:
        return values[found]
    if key == DTYPE:
        return getattr(torch, found)
    return float(found) if key == NUMBER else value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
