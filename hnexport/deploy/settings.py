"""What the page shows of a bundle, as data: `site.json` says it to the page's scripts (examples/web/page)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hnexport.bundle.manifest import Manifest
from hnexport.errors import DeployError
from hnexport.images import AppliedNormalisation, Normalisation, distinct, image_input, read_labels
from hnexport.images.normalising import applied_to
from hnexport.spec import OutputKind, OutputSpec, TensorSpec
from hnexport.spec.images import ImageLayout

__all__ = ["ImageSettings", "NumbersSettings", "OutputSettings", "PageSettings", "input_settings", "output_settings"]

MOST_NUMBERS = 64
"""So many fields a form may have, and so many numbers an output that is shown as numbers."""
_IMAGE, _NUMBERS = "image", "numbers"
_WITHOUT_ARRAYS = ("float16", "bfloat16")  # JavaScript has no array of them everywhere


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """An input that takes pictures, and how they become it."""

    name: str
    dtype: str
    layout: ImageLayout
    channels: int
    height: int
    width: int
    normalisation: AppliedNormalisation
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


def input_settings(manifest: Manifest, given: Normalisation | None) -> ImageSettings | NumbersSettings:
    """How the page takes a sample: as a picture, or as a few numbers in a form.

    Args:
        given: how training normalised pictures; None takes what the bundle says.

    Raises:
        DeployError: the page can give this network no sample, or a normalisation is given for pictures that it does not
            take.
        RuntimeInputError: the graph normalises pictures itself, or nobody said how training did.
        SpecError: mean or std do not fit the channels.
    """
    image = image_input(manifest)
    if image is None or image.channels not in (1, 3):
        if given is not None:
            raise DeployError(f"mean and std are for pictures, {_takes(manifest)}: leave them out")
        return _numbers(manifest)
    return ImageSettings(
        name=image.tensor.name,
        dtype=image.tensor.dtype,
        layout=image.layout,
        channels=image.channels,
        height=image.height,
        width=image.width,
        normalisation=applied_to(image, given, manifest.name),
    )


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
        return distinct(manifest.usage.class_names.get(output.name, ())) or None
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
