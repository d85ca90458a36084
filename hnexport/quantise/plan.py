"""From a bundle and samples to a network in int8: which layers, by which ranges."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from hnexport.bundle.manifest import Manifest
from hnexport.errors import TuneError
from hnexport.progress import Progress, no_progress
from hnexport.quantise.calibrate import Method, calibrate, plain
from hnexport.quantise.data import Calibration
from hnexport.quantise.layers import Layer, layers
from hnexport.quantise.makers import Members
from hnexport.quantise.parts import split
from hnexport.quantise.rounding import Rounded, rounded, tensors_to_round
from hnexport.quantise.sensitive import signal_to_noise
from hnexport.rows import taken

__all__ = ["LEAST_DECIBELS", "NORM_DECIBELS", "Kept", "Quantised", "quantise", "useful"]

LEAST_DECIBELS = 20.0
"""A layer that alone loses more than a tenth of its result (relative L2) stays in float32; others lose 1 to 3 %."""
NORM_DECIBELS = 10.0
"""A batch norm that is computed in int8 saves little, and may lose a third (relative L2) of what others may."""
_SAMPLES = 8  # to measure the layers by
_MEMBERS = 3  # to measure them of


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A layer that stays in float32.

    Attributes:
        layer: the slot of its weights.
        decibels: its signal-to-noise ratio in int8, the least of the members that were measured.
    """

    layer: str
    decibels: float


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A network in int8, and how it came about.

    Attributes:
        layers: how many compute in int8.
        kept: those that do not, since they lose too much.
        decibels: of each layer, by its slot.
    """

    rounded: Rounded = field(repr=False)
    layers: int
    kept: tuple[Kept, ...]
    decibels: dict[str, float] = field(repr=False)


def quantise(
    bundle: Path,
    manifest: Manifest,
    samples: Calibration,
    members: Sequence[int],
    *,
    method: Method = Method.MINMAX,
    least_decibels: float = LEAST_DECIBELS,
    progress: Progress = no_progress,
) -> Quantised:
    """Calibrate members, each by itself, and round their network.

    Args:
        members: those that are calibrated; the ranges of others are those of all of these together.
        progress: called after each member.

    Raises:
        BundleError: the bundle holds no ONNX files, or damaged ones.
        TuneError: it computes in float64, nothing in it can compute in int8, every layer loses too much, or onnxruntime
            cannot calibrate it.
    """
    parts = split(bundle, manifest)
    if any(tensor.data_type == onnx.TensorProto.DOUBLE for tensor in parts.network.graph.initializer):
        raise TuneError(f"{manifest.name} computes in float64: what needs that precision is not made in int8")
    every = layers(parts)
    if not every:
        raise TuneError(
            f"{manifest.name} has no convolution or product with weights in float32 that could compute in int8"
        )
    held, names = Members(bundle, manifest), tensors_to_round(every)
    ranges = {name: np.full((manifest.members, 2), np.nan) for name in names}
    for count, member in enumerate(members, start=1):
        model = plain(parts, held.parameters(parts.maker, parts.parameters, member))
        for name, both in calibrate(model, names, manifest.signature, samples.inputs, method).items():
            ranges[name][member] = both
        progress("calibrate", count, len(members))
    for table in ranges.values():
        missing = np.isnan(table[:, 0])
        table[missing] = np.nanmin(table[:, 0]), np.nanmax(table[:, 1])
    whole = rounded(parts, every, ranges)
    decibels = {layer.name: np.inf for layer in every}
    few = taken(manifest.signature, samples.inputs, slice(0, _SAMPLES))
    for member in list(members)[:_MEMBERS]:
        model = plain(parts, held.parameters(parts.maker, parts.parameters, member))
        values = held.parameters(whole.maker, whole.parameters, member)
        for name, found in signal_to_noise(model, whole, every, values, few).items():
            decibels[name] = min(decibels[name], found)
    able = [layer for layer in every if decibels[layer.name] >= least_decibels + NORM_DECIBELS * layer.norm]
    chosen = useful(able)
    if not chosen:
        raise TuneError(
            f"every layer of {manifest.name} loses too much in int8, the best {max(decibels.values()):.0f} dB"
        )
    return Quantised(
        rounded=whole if len(chosen) == len(every) else rounded(parts, chosen, ranges),
        layers=len(chosen),
        kept=tuple(_kept(layer, decibels) for layer in every if layer not in able),
        decibels={layer.title: decibels[layer.name] for layer in every},
    )


def useful(layers: Sequence[Layer]) -> list[Layer]:
    """Without batch norms that would round for nobody: no layer that computes in int8 takes what they give."""
    read = {layer.given for layer in layers if not layer.norm}
    return [layer for layer in layers if not layer.norm or layer.end in read]


def _kept(layer: Layer, decibels: dict[str, float]) -> Kept:
    return Kept(layer=layer.title, decibels=decibels[layer.name])
