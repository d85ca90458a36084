"""Samples to calibrate with, and others to judge by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.batches import Batch, Batches
from hnexport.evaluate.data import Data, read_data
from hnexport.evaluate.targets import TARGETS, ReadOptions
from hnexport.images.archives import array_names, is_archive
from hnexport.images.arrays import read_array
from hnexport.rows import batch_size, taken
from hnexport.spec import OutputKind, OutputSpec, Signature
from hnexport.text import number_of

__all__ = ["Calibration", "drawn_samples", "judged_output", "read_calibration"]

Array = NDArray[Any]

_MOST_JUDGED = 2048


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What activations are calibrated with, and what the result is judged by.

    Attributes:
        inputs: to calibrate with, by name.
        samples: how many.
        judged: others to judge by, or the same where there are no others.
        targets: what is right of `judged`, class numbers; None where nobody said it.
        apart: whether `judged` are others.
        place: where they come from.
        judges: how many judge.
    """

    inputs: dict[str, Array] = field(repr=False)
    samples: int
    judged: dict[str, Array] = field(repr=False)
    targets: Array | None = field(repr=False)
    apart: bool
    place: str
    judges: int

    @property
    def told(self) -> str:
        """What it was judged by, in words."""
        return f"{number_of(self.judges, 'sample')} of {self.place}" + ("" if self.apart else ", which calibrated it")


def judged_output(manifest: Manifest) -> OutputSpec:
    """The output by which fewer bits are judged: the first of logits, else the first of floats with a row a sample.

    Raises:
        RuntimeInputError: there is none.
    """
    able = [one for one in manifest.outputs if one.is_floating and one.has_batch]
    logits = [one for one in able if one.kind is OutputKind.LOGITS]
    if not able:
        raise RuntimeInputError(f"{manifest.name} has no floating-point output with a row for each sample to judge by")
    return (logits or able)[0]


def read_calibration(
    place: str | Path, manifest: Manifest, options: ReadOptions, samples: int, *, needs_targets: bool = False
) -> Calibration:
    """Read samples: a folder of pictures or of classes, `.npz`, Parquet or one `.npy`. Which calibrate is drawn.

    Args:
        samples: to calibrate with; the others judge.
        needs_targets: refuse data that do not say what is right.

    Raises:
        RuntimeInputError: they cannot be read, or are not what the network takes.
    """
    data = _read(Path(place), manifest, options, needs_targets=needs_targets)
    if data.samples < 1:
        raise RuntimeInputError(f"{place} holds no samples")
    order = np.random.default_rng(0).permutation(data.samples)  # folders hold one class after the other
    signature, apart = manifest.signature, data.samples > samples
    chosen = np.sort(order[:samples]).tolist()
    others = np.sort(order[samples : samples + _MOST_JUDGED]).tolist()
    if not apart:
        others = chosen
    return Calibration(
        inputs=_gathered(signature, data, chosen),
        samples=len(chosen),
        judged=_gathered(signature, data, others),
        targets=None if data.targets is None else data.targets[others],
        apart=apart,
        place=data.place,
        judges=len(others),
    )


def drawn_samples(
    place: str | Path,
    manifest: Manifest,
    options: ReadOptions,
    most: int = _MOST_JUDGED,
    *,
    needs_targets: bool = False,
) -> tuple[dict[str, Array], Array | None]:
    """At most so many of the samples, drawn, by name; and what is right of them, where the data say it.

    Raises:
        RuntimeInputError: they cannot be read, or are not what the network takes.
    """
    data = _read(Path(place), manifest, options, needs_targets=needs_targets)
    if data.samples < 1:
        raise RuntimeInputError(f"{place} holds no samples")
    some = np.sort(np.random.default_rng(0).permutation(data.samples)[:most]).tolist()
    return _gathered(manifest.signature, data, some), None if data.targets is None else data.targets[some]


def _gathered(signature: Signature, data: Data, wanted: Sequence[int]) -> dict[str, Array]:
    """Some of the samples, by their ascending numbers; data may be more than memory holds."""
    parts: list[Mapping[str, Array]] = []
    start = 0
    for batch in data.batches:
        end = start + batch_size(signature, batch)
        here = [number - start for number in wanted if start <= number < end]
        if here:
            parts.append(taken(signature, batch, here))
            _check_numbers(parts[-1], data.place)
        start = end
    return {
        item.name: np.concatenate([part[item.name] for part in parts]) if item.has_batch else parts[0][item.name]
        for item in signature.inputs
    }


def _check_numbers(batch: Mapping[str, Array], place: str) -> None:
    """Refuse NaN: a range leaves it out, and no answer to it is right or float32's."""
    for name, values in batch.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise RuntimeInputError(
                f"{place}: {name} of a sample holds NaN, which nothing can be judged by: leave it out"
            )


def _read(path: Path, manifest: Manifest, options: ReadOptions, *, needs_targets: bool) -> Data:
    """With what is right, where the data say it of logits."""
    output, inputs = judged_output(manifest), manifest.signature.inputs
    if path.suffix.lower() == ".npy" and not needs_targets:
        if len(inputs) != 1:
            raise RuntimeInputError(f"{path} is one array, and this network takes {len(inputs)} inputs: give .npz")
        array = {inputs[0].name: read_array(path, inputs[0])}
        return Data(
            batches=Batches(lambda: iter((Batch(inputs=array),))),
            targets=None,
            samples=batch_size(manifest.signature, array),
            place=str(path),
        )
    if output.kind is not OutputKind.LOGITS:
        return read_data(path, manifest, output, options, targets=needs_targets)
    try:
        return read_data(path, manifest, output, options)
    except RuntimeInputError:
        if needs_targets or _says_targets(path, options):
            raise
        return read_data(path, manifest, output, options, targets=False)


def _says_targets(path: Path, options: ReadOptions) -> bool:
    """Whether somebody meant to say what is right: what is wrong with it is then worth an error."""
    return options.target is not None or (
        path.is_file() and is_archive(path) and not set(TARGETS).isdisjoint(array_names(path))
    )
