"""One step for each slot: the tensor that the artifact's operators are given for it."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hnexport.parity.locate.steps import Kind, Step
from hnexport.parity.trace.slots import Sighting

__all__ = ["named_member", "weight_steps"]

Array = NDArray[np.generic]

_MEMBERS_COMPARED = 64


def weight_steps(
    expected: Mapping[str, Tensor], seen: Mapping[str, Sighting], tolerance: float, *, right: bool
) -> tuple[Step, ...]:
    """One step for each slot.

    Args:
        expected: in float64 where the family can compute that.
        seen: what was found, see `hnexport.parity.trace.slots`.
        right: whether the outputs are: then a slot that cannot be told for certain is not accused.
    """
    return tuple(_step(slot, expected, seen, tolerance, right=right) for slot in expected)


def _step(
    slot: str, expected: Mapping[str, Tensor], seen: Mapping[str, Sighting], tolerance: float, *, right: bool
) -> Step:
    found = seen.get(slot)
    if found is None:
        return Step(kind=Kind.WEIGHT, place=slot, error=math.nan, passed=True, detail="not in the artifact")
    if found.error <= tolerance:
        return Step(kind=Kind.WEIGHT, place=slot, error=found.error, passed=True)
    if not found.certain and (right or _is_folded(slot, expected, seen)):
        detail = "what follows was folded into it" if _is_folded(slot, expected, seen) else "not told for certain"
        return Step(kind=Kind.WEIGHT, place=slot, error=found.error, passed=True, detail=detail)
    detail = _diagnosis(found.value, expected, slot)
    return Step(kind=Kind.WEIGHT, place=slot, error=found.error, passed=False, detail=detail)


def _is_folded(slot: str, expected: Mapping[str, Tensor], seen: Mapping[str, Sighting]) -> bool:
    """Whether the module after this one has tensors and none of them is in the artifact."""
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in expected))
    position = paths.index(slot.rpartition(".")[0]) + 1
    if position == len(paths):
        return False
    following = [name for name in expected if name.rpartition(".")[0] == paths[position]]
    return not any(name in seen for name in following)


def named_member(
    step: Step, value: Array, weights: Callable[[int], Mapping[str, Tensor]], members: Sequence[int]
) -> str:
    """Which other member's a wrong tensor is, in words; what is known already where it is none's."""
    for member in members[:_MEMBERS_COMPARED]:
        reference = weights(member)[step.place].numpy()
        if value.shape == reference.shape and _is_same(value, reference):
            return f"it is member {member}'s"
    return step.detail


def _diagnosis(found: Array, expected: Mapping[str, Tensor], slot: str) -> str:
    """What a wrong tensor looks like."""
    reference = expected[slot].numpy()
    if found.shape != reference.shape:
        return f"shape {list(found.shape)} instead of {list(reference.shape)}"
    if reference.ndim == 4:
        for axes, words in (((1, 0, 2, 3), "its channels are exchanged"), ((0, 1, 3, 2), "its rows and columns are")):
            if _is_same(found, reference.transpose(axes)):
                return words
        if reference.shape[1] % 2 == 0 and _is_same(found, np.roll(reference, reference.shape[1] // 2, 1)):
            return "its chunks are joined in the wrong order"
    if reference.ndim == 2 and _is_same(found, reference.T):
        return "it is transposed"
    for name, other in expected.items():
        if name != slot and tuple(other.shape) == found.shape and _is_same(found, other.numpy()):
            return f"it is {name}"
    wrong = int((np.abs(reference.astype(np.float64) - found.astype(np.float64)) > 1e-5 * _scale(reference)).sum())
    return f"{wrong} of {reference.size} elements differ"


def _is_same(found: Array, candidate: Array) -> bool:
    if candidate.shape != found.shape or not found.size:
        return False
    difference = np.abs(candidate.astype(np.float64) - found.astype(np.float64)).max()
    return bool(difference < 1e-3 * _scale(candidate))


def _scale(array: Array) -> float:
    return max(float(np.sqrt((array.astype(np.float64) ** 2).mean())), 1e-30)
