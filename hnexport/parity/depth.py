"""How the error grows from inputs to outputs, module by module, for one member and one sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.ensemble import Ensemble
from hnexport.names import COND_ID
from hnexport.parity.batches import first_samples
from hnexport.parity.double import conditions_of
from hnexport.parity.locate.activations import value_error
from hnexport.parity.trace.onnx_trace import OnnxTracer
from hnexport.parity.trace.points import Point, reference_points

__all__ = ["MOST_PLACES", "DepthProfile", "depth_profile"]

MOST_PLACES = 80


@dataclass(frozen=True, kw_only=True)
class DepthProfile:
    """Relative L2 errors against float64 along the network.

    Attributes:
        places: the modules by their paths, in the order in which they are reached last; of a deep network their owners,
            so that there are at most `MOST_PLACES`.
        errors: by series (`float32 eager`, `onnx`), one for each place; None where a value was fused away.
    """

    member: int
    places: tuple[str, ...]
    errors: dict[str, tuple[float | None, ...]]


def depth_profile(ensemble: Ensemble, golden: Golden, model: Path | None = None) -> DepthProfile:
    """Compare float32 eager PyTorch and, where there is one, a bundle's `model.onnx` with float64 at every module.

    Args:
        ensemble: in float32.
        model: the file, with the inputs' names of the ensemble.
    """
    member, inputs = int(golden.members[0]), first_samples(ensemble.signature, golden, 1)
    with torch.no_grad():
        points = _points(ensemble, member, inputs)
        reference = _points(ensemble.double(), member, inputs)
    last = _last(reference)
    known = [reference[number] for number in last.values()]
    errors = {"float32 eager": _along([_same_point(points, reference, number) for number in last.values()], known)}
    if model is not None:
        feed = {COND_ID: np.array(member, dtype=np.int64), **inputs}
        values = list(
            OnnxTracer(model, weights=False, conditions=ensemble.signature.conditions).run(feed).values.values()
        )
        errors["onnx"] = _along([_nearest(point, values) for point in known], known)
    return DepthProfile(member=member, places=tuple(last), errors=errors)


def _points(ensemble: Ensemble, member: int, inputs: Mapping[str, NDArray[np.generic]]) -> tuple[Point, ...]:
    weights = ensemble.weights(member, conditions_of(ensemble, inputs))
    return reference_points(ensemble, weights, inputs).points


def _last(points: Sequence[Point]) -> dict[str, int]:
    """The last value of each place, which stands for it; places are shortened until there are few enough."""
    depth = max((point.place.count(".") + 1 for point in points), default=1)
    found: dict[str, int] = {}
    for kept in range(depth, 0, -1):
        found = {".".join(point.place.split(".")[:kept]): number for number, point in enumerate(points)}
        if len(found) <= MOST_PLACES:
            return found
    step = -(-len(found) // MOST_PLACES)
    return dict(list(found.items())[::-1][::step][::-1])  # the last one stays


def _same_point(points: Sequence[Point], reference: Sequence[Point], number: int) -> NDArray[np.generic] | None:
    """The point at the same position, where both networks computed the same operators."""
    if number < len(points) and points[number].operation == reference[number].operation:
        return points[number].value
    return _nearest(reference[number], [point.value for point in points])


def _along(found: Sequence[NDArray[np.generic] | None], points: Sequence[Point]) -> tuple[float | None, ...]:
    return tuple(
        None if value is None else value_error(value, point.value) for value, point in zip(found, points, strict=True)
    )


def _nearest(point: Point, values: Sequence[NDArray[np.generic]]) -> NDArray[np.generic] | None:
    """The value that is this point; None where nothing comes near, since it was fused away."""
    candidates = [value for value in values if value.shape == point.value.shape]
    if not candidates:
        return None
    best = min(candidates, key=lambda value: value_error(value, point.value))
    return best if value_error(best, point.value) < 0.1 else None
