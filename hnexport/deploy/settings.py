"""What the page shows of a bundle, as data: `site.json` says it to the page's scripts (examples/web/page)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hnexport.bundle.manifest import Manifest
from hnexport.errors import DeployError
from hnexport.images import Normalisation, image_input, read_labels
from hnexport.spec import OutputKind, OutputSpec, TensorSpec
from hnexport.spec.images import ImageInput, ImageLayout
from hnexport.spelling import spelled

__all__ = ["ImageSettings", "NumbersSettings", "OutputSettings", "PageSettings", "input_settings", "output_settings"]

MOST_NUMBERS = 64
"""So many fields a form may have, and so many numbers an output that is shown as numbers."""
_IMAGE, _NUMBERS = "image", "numbers"
_WITHOUT_ARRAYS = ("float16", "bfloat16")  # JavaScript has no array of them everywhere


class SaidBy(StrEnum):
    """Who says how pictures are normalised."""

    BUNDLE = "bundle"
    COMMAND = "command"


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """An input that takes pictures.

    Attributes:
        mean: one number, or one a channel; None where the graph takes uint8 and normalises itself.
        std: likewise.
        said_by: who says mean and std.
    """

    name: str
    dtype: str
    layout: ImageLayout
    channels: int
    height: int
    width: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    said_by: SaidBy | None = None
    kind: str = _IMAGE


@dataclass(frozen=True, kw_only=True)
class NumbersSettings:
    """An input of a few numbers, for which the page has a form; `shape` is that of one sample."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: str = _NUMBERS


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """The output that is shown: `size` classes or numbers."""

    name: str
    kind: OutputKind
    size: int


@dataclass(frozen=True, kw_only=True)
class RuntimeSettings:
    """The runtime's version, and what a browser loads of it for each provider, in bytes."""

    version: str
    bytes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """Everything that the page needs to know before it loads the bundle."""

    name: str
    origin: str
    license: str | None
    members: int
    input: ImageSettings | NumbersSettings
    output: OutputSettings
    labels: tuple[str, ...] | None
    samples: tuple[str, ...]
    runtime: RuntimeSettings
    weights_bytes: int


def input_settings(
    manifest: Manifest, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> ImageSettings | NumbersSettings:
    """How the page takes a sample: as a picture, or as a few numbers in a form.

    Raises:
        DeployError: the page can give this network no sample, mean and std are for pictures that it does not take, or
            nobody says how its pictures were normalised.
        SpecError: mean or std do not fit the channels.
    """
    if (mean is None) != (std is None):
        given, missing, none = ("mean", "std", 1) if std is None else ("std", "mean", 0)
        raise DeployError(
            f"{spelled(given, f'--{given}')} goes with {spelled(missing, f'--{missing}')}: give both, {missing} {none} "
            "where training had none"
        )
    said = None if mean is None or std is None else Normalisation(mean=mean, std=std)
    image = image_input(manifest)
    if image is None or image.channels not in (1, 3):
        if said is not None:
            raise DeployError(f"mean and std are for pictures, {_takes(manifest)}: leave them out")
        return _numbers(manifest)
    applied = _normalisation(manifest, image, said)
    return ImageSettings(
        name=image.tensor.name,
        dtype=image.tensor.dtype,
        layout=image.layout,
        channels=image.channels,
        height=image.height,
        width=image.width,
        mean=None if applied is None else applied.mean,
        std=None if applied is None else applied.std,
        said_by=None if applied is None else SaidBy.BUNDLE if said is None else SaidBy.COMMAND,
    )


def _normalisation(manifest: Manifest, image: ImageInput, said: Normalisation | None) -> Normalisation | None:
    """What is said, otherwise what the bundle says; None where the graph normalises itself."""
    if image.tensor.dtype == "uint8":
        if said is not None:
            raise DeployError(
                f"{image.tensor.name} is uint8, which this graph normalises itself: leave mean and std out"
            )
        return None
    applied = said or image.normalisation
    if applied is None:
        raise DeployError(
            f"{manifest.name} does not say how its pictures were normalised in training, and visitors cannot know it: "
            f"give {spelled('mean=… and std=…', '--mean … --std …')} of the training, or "
            f"{spelled('mean=(0.0,) and std=(1.0,)', '--mean 0 --std 1')} where it was trained on pixel/255"
        )
    applied.check_channels(image.channels)
    return applied


def _numbers(manifest: Manifest) -> NumbersSettings:
    inputs = manifest.signature.inputs
    tensor = inputs[0] if len(inputs) == 1 else None
    count = None if tensor is None else _row_size(tensor)
    if tensor is None or count is None or tensor.dtype in _WITHOUT_ARRAYS:
        raise DeployError(
            f"{manifest.name}: {_takes(manifest)}; the page shows networks of one input, which is a picture or at most "
            f"{MOST_NUMBERS} numbers. For other networks build a page on the module in examples/web, which takes any"
        )
    return NumbersSettings(
        name=tensor.name, dtype=tensor.dtype, shape=tuple(size for size in tensor.row if isinstance(size, int))
    )


def output_settings(manifest: Manifest) -> OutputSettings:
    """The first output that the page can show: classes of a sample, otherwise a few numbers.

    Raises:
        DeployError: there is none.
    """
    outputs = manifest.signature.outputs
    for output in outputs:
        if output.kind is OutputKind.LOGITS and _is_vector(output) and output.axis == 1:
            return OutputSettings(name=output.name, kind=output.kind, size=_row_size(output, most=None) or 0)
    for output in outputs:
        count = _row_size(output)
        if output.kind is OutputKind.VALUE and count is not None and output.dtype not in _WITHOUT_ARRAYS:
            return OutputSettings(name=output.name, kind=output.kind, size=count)
    raise DeployError(
        f"{manifest.name} gives {_listed(outputs)}: the page shows logits [batch, class], or at most {MOST_NUMBERS} "
        "numbers of a sample. For other networks build a page on the module in examples/web, which takes any"
    )


def labels_of(path: Path | None, manifest: Manifest, output: OutputSettings) -> tuple[str, ...] | None:
    """The names of the classes: from a file with one a line, otherwise the bundle's; None where it has none.

    Raises:
        DeployError: the output has no classes.
        RuntimeInputError: the file cannot be read, or does not have that many lines.
    """
    if path is None:
        return manifest.usage.class_names.get(output.name)
    if output.kind is not OutputKind.LOGITS:
        raise DeployError(f"labels are for classes, {output.name} is a value: leave them out")
    return read_labels(path, output.size)


def _is_vector(tensor: TensorSpec) -> bool:
    return tensor.has_batch and len(tensor.row) == 1 and isinstance(tensor.row[0], int) and tensor.row[0] > 0


def _row_size(tensor: TensorSpec, most: int | None = MOST_NUMBERS) -> int | None:
    """How many numbers a sample has; None where that is not fixed, or they are none or too many."""
    sizes = [size for size in tensor.row if isinstance(size, int)]
    count = math.prod(sizes)
    if not tensor.has_batch or len(sizes) != len(tensor.row) or count == 0 or (most is not None and count > most):
        return None
    return count


def _takes(manifest: Manifest) -> str:
    return f"this network takes {_listed(manifest.signature.inputs)}"


def _listed(tensors: tuple[TensorSpec, ...] | tuple[OutputSpec, ...]) -> str:
    return ", ".join(f"{one.name} {one.dtype} [{', '.join(map(str, one.shape))}]" for one in tensors) or "nothing"
