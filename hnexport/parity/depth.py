"""How the error grows from image to logits, layer by layer, for one member and one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Format, Manifest
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.parity.onnx_trace import OnnxTracer
from hnexport.parity.points import Point, reference_points
from hnexport.parity.reference import double_pipeline
from hnexport.parity.trusted import trusted_tensors
from hnexport.rows import relative_l2
from hnexport.trust import NOBODY, Trust

__all__ = ["DepthProfile", "depth_profile"]


@dataclass(frozen=True, kw_only=True)
class DepthProfile:
    """Relative L2 errors against float64 along the network.

    Attributes:
        places: the layers and blocks, in the order in which the image meets them.
        errors: by series (`float32 eager`, `onnx`), one for each place; None where a value was fused away.
    """

    member: int
    places: tuple[str, ...]
    errors: dict[str, tuple[float | None, ...]]


def depth_profile(bundle: Path, manifest: Manifest, golden: Golden, trust: Trust = NOBODY) -> DepthProfile:
    """Compare float32 eager PyTorch and, where the bundle has it, `model.onnx` with float64 at every layer."""
    member, images = int(golden.members[0]), golden.images[:1]
    single = Pipeline(manifest.spec, trusted_tensors(bundle, manifest, golden.fingerprints, trust))
    with torch.no_grad():
        points = reference_points(single, single.weights(member), images)
        double = double_pipeline(manifest.spec, single.tensors())
        reference = reference_points(double, double.weights(member), images)
    last = {point.place: number for number, point in enumerate(reference)}  # a layer's last value stands for it
    errors = {"float32 eager": _along([points[i].value for i in last.values()], [reference[i] for i in last.values()])}
    if Format.ONNX in manifest.formats:
        trace = OnnxTracer(bundle / "model.onnx", weights=False).run(member, images)
        values = list(trace.values.values())
        found = [_nearest(reference[i], values) for i in last.values()]
        errors["onnx"] = _along(found, [reference[i] for i in last.values()])
    return DepthProfile(member=member, places=tuple(last), errors=errors)


def _along(found: Sequence[NDArray[np.generic] | None], points: Sequence[Point]) -> tuple[float | None, ...]:
    return tuple(
        None if value is None else _error(value, point.value) for value, point in zip(found, points, strict=True)
    )


def _nearest(point: Point, values: Sequence[NDArray[np.generic]]) -> NDArray[np.generic] | None:
    """The value that is this point; None where nothing comes near, since it was fused away."""
    candidates = [value for value in values if value.shape == point.value.shape]
    if not candidates:
        return None
    best = min(candidates, key=lambda value: _error(value, point.value))
    return best if _error(best, point.value) < 0.1 else None


def _error(value: NDArray[np.generic], reference: NDArray[np.generic]) -> float:
    flat = [array.reshape(1, -1).astype(np.float64) for array in (value, reference)]
    return float(relative_l2(flat[0], flat[1])[0])
