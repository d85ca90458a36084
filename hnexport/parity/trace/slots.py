"""Which of the tensors that an artifact gives its operators is which slot.

Names decide where they survive: of the node (`PATH/OPERATOR`, and the operand's role is the slot's last name), then of
the value. Elsewhere numbers do: an operator that takes exactly the tensors of a module is that module's. Of what is
left an operator of the right shapes is taken for the module, in order, and any tensor that equals a slot for the slot;
at last the one tensor of a shape that is left for the one slot of that shape.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.parity.trace.observed import Call, Given

__all__ = ["Sighting", "find_slots", "in_shape", "tensor_error"]

Array = NDArray[np.generic]
Expected = Mapping[str, Tensor]
Module = Mapping[str, str]  # a module's slots by role, their last name

_STATISTICS = "running_mean"


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """A tensor of an artifact that stands for a slot.

    Attributes:
        error: as `tensor_error`, against the tensor that it should be.
        certain: whether names or numbers say so; otherwise the operator is merely of the right shapes.
    """

    value: Array
    error: float
    certain: bool = True


def find_slots(expected: Expected, given: Given, tolerance: float, more: Iterable[Array] = ()) -> dict[str, Sighting]:
    """The slots that can be told; one that was fused away, or that nothing tells, is left out.

    Args:
        expected: every slot's tensor, as it should be.
        tolerance: of a `tensor_error`, up to which a tensor is a slot's.
        more: further tensors that may be a slot's.
    """
    found = _by_path(expected, given.calls)
    modules = _modules(slot for slot in expected if slot not in found)
    free = [call for call in given.calls if call.path not in _paths(found)]
    exact: dict[str, Call] = {}
    for path, module in modules.items():
        taken = list(exact.values())
        one = _exact(module, expected, _untaken_first(free, taken), tolerance)
        if one is not None:
            exact[path], seen = one
            found.update(seen)
    for slot in expected:
        if slot not in found and slot in given.named:
            found[slot] = _sighting(given.named[slot], expected[slot])
    free = [call for call in free if not any(call is taken for taken in exact.values())]
    for path, module in modules.items():
        if path in exact or all(slot in found for slot in module.values()):
            continue
        fitting = [call for call in free if _fits(module, expected, call)]
        if fitting:
            found.update(_sightings(module, expected, fitting[0], certain=False) | _only(found, module))
            free.remove(fitting[0])
    loose = [array for call in given.calls for array in call.tensors.values()]
    for slot, tensor in expected.items():
        if slot not in found and (match := _equal(tensor, (*loose, *given.loose, *more), tolerance)) is not None:
            found[slot] = _sighting(match, tensor)
    return found | _left_over(expected, found, (*loose, *given.loose), tolerance)


def _left_over(
    expected: Expected, found: Mapping[str, Sighting], arrays: Sequence[Array], tolerance: float
) -> dict[str, Sighting]:
    """The one slot of a shape that nothing tells, where one tensor of that shape is left that is no slot's."""
    missing = [slot for slot in expected if slot not in found and expected[slot].numel() > 1]
    sightings = {}
    for slot in missing:
        shape = tuple(expected[slot].shape)
        if sum(tuple(expected[other].shape) in (shape, shape[::-1]) for other in missing) != 1:
            continue
        others = [tensor for tensor in expected.values() if tuple(tensor.shape) in (shape, shape[::-1])]
        left: list[Array] = []
        for array in arrays:
            turned = array if array.shape == shape else array.T
            if turned.shape != shape or any(_equal(other, [array], tolerance) is not None for other in others):
                continue
            if not any(np.array_equal(turned, one) for one in left):
                left.append(np.ascontiguousarray(turned))
        if len(left) == 1:
            sightings[slot] = _sighting(left[0], expected[slot], certain=False)
    return sightings


def tensor_error(found: Array, expected: Tensor) -> float:
    """Largest |difference| of an element over the expected tensor's root mean square; infinite for another shape.

    Of what is not floating-point, infinite where anything differs; a mask is no floating-point tensor.
    """
    if found.shape != tuple(expected.shape):
        return float("inf")
    if not expected.is_floating_point():
        return 0.0 if np.array_equal(found, expected.numpy()) else float("inf")
    if found.dtype == np.bool_:
        return float("inf")
    # In float32 where the artifact is: the difference of two close numbers is exact.
    difference = torch.from_numpy(_writable(found)) - expected.to(torch.float32)
    largest = float(difference.abs().max()) if expected.numel() else 0.0
    scale = float(torch.linalg.vector_norm(expected)) / max(expected.numel(), 1) ** 0.5
    if largest == 0.0:
        return 0.0
    error = largest / max(scale, np.finfo(np.float32).tiny)
    return error if np.isfinite(error) else float("inf")


def in_shape(array: Array, shape: Sequence[int]) -> Array:
    """A tensor without the axes of size 1 that it has more than `shape`, or as it is where that does not help."""
    fits = array.shape != tuple(shape) and [size for size in array.shape if size != 1] == [
        size for size in shape if size != 1
    ]
    return array.reshape(shape) if fits else array


def _by_path(expected: Expected, calls: Sequence[Call]) -> dict[str, Sighting]:
    """The tensors of operators that are named after a module; of several that take a slot, the worst."""
    found: dict[str, Sighting] = {}
    for call in calls:
        for role, array in call.tensors.items():
            slot = f"{call.path}.{role}"
            if slot not in expected or not _shaped(array, expected[slot]):
                continue
            seen = _sighting(array, expected[slot])
            if slot not in found or seen.error > found[slot].error:
                found[slot] = seen
    return found


def _modules(slots: Iterable[str]) -> dict[str, dict[str, str]]:
    modules: dict[str, dict[str, str]] = {}
    for slot in slots:
        path, _, role = slot.rpartition(".")
        modules.setdefault(path, {})[role] = slot
    return modules


def _paths(slots: Iterable[str]) -> set[str]:
    return {slot.rpartition(".")[0] for slot in slots}


def _untaken_first(calls: Sequence[Call], taken: Sequence[Call]) -> list[Call]:
    """Modules stand in the order of their operators: the first that is left is most often the next one's."""
    known = {id(call) for call in taken}
    return sorted(calls, key=lambda call: id(call) in known)


def _exact(
    module: Module, expected: Expected, calls: Sequence[Call], tolerance: float
) -> tuple[Call, dict[str, Sighting]] | None:
    """The operator that takes the module's tensors, and these."""
    for call in calls:
        if _fits(module, expected, call):
            seen = _sightings(module, expected, call, certain=True)
            if all(one.error <= tolerance for one in seen.values()):
                return call, seen
    return None


def _fits(module: Module, expected: Expected, call: Call) -> bool:
    """Whether an operator may be the module's, as far as shapes and roles tell."""
    common = [role for role in module if role in call.tensors]
    if not common or (_STATISTICS in module) != (_STATISTICS in call.tensors):
        return False
    if "weight" in module and "weight" not in common:
        return False
    return all(_shaped(call.tensors[role], expected[module[role]]) for role in common)


def _shaped(array: Array, expected: Tensor) -> bool:
    return in_shape(array, expected.shape).shape == tuple(expected.shape)


def _sightings(module: Module, expected: Expected, call: Call, *, certain: bool) -> dict[str, Sighting]:
    return {
        slot: _sighting(call.tensors[role], expected[slot], certain=certain)
        for role, slot in module.items()
        if role in call.tensors
    }


def _sighting(array: Array, expected: Tensor, *, certain: bool = True) -> Sighting:
    value = in_shape(array, expected.shape)
    return Sighting(value=value, error=tensor_error(value, expected), certain=certain)


def _only(found: Mapping[str, Sighting], module: Module) -> dict[str, Sighting]:
    return {slot: found[slot] for slot in module.values() if slot in found}


def _equal(expected: Tensor, arrays: Iterable[Array], tolerance: float) -> Array | None:
    """A tensor that equals the expected one in another shape, or transposed."""
    shape, size = tuple(expected.shape), expected.numel()
    for array in arrays:
        if array.size != size:
            continue
        candidates = [array.reshape(shape)]
        if array.ndim == 2:
            candidates.append(np.ascontiguousarray(array.T).reshape(shape))
        for candidate in candidates:
            if tensor_error(candidate, expected) <= tolerance:
                return candidate
    return None


def _writable(array: Array) -> Array:
    return array if array.flags.writeable else np.array(array)
