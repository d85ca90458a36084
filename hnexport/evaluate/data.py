"""Samples and what is right of them, from a folder of classes, a `.npz` file or Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.targets import CLASS_NUMBERS, TARGETS, ReadOptions, check_targets, named_targets, target_spec
from hnexport.images import AppliedNormalisation, distinct, image_input, read_images
from hnexport.images.archives import array_names, is_archive, read_archive
from hnexport.images.arrays import read_array
from hnexport.rows import batch_size
from hnexport.runtime.validation import require_path
from hnexport.spec import OutputSpec
from hnexport.spelling import spelled

__all__ = ["Data", "read_data"]

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """Samples of a network.

    Attributes:
        inputs: by name, as the network takes them.
        targets: of logits int64 `[sample, …]`, the number of the right class; of a value float64 `[sample, …]`. None
            where nobody asked for them.
        samples: how many.
        place: where they come from.
        class_names: in the classes' order; empty where the data do not say.
        class_order: how they got their numbers, in words; "" where the data have the network's.
        normalised: how pictures were; None where there are none.
    """

    inputs: dict[str, Array] = field(repr=False)
    targets: Array | None
    place: str
    samples: int = 0
    class_names: tuple[str, ...] = ()
    class_order: str = ""
    normalised: AppliedNormalisation | None = None


def read_data(
    place: str | Path, manifest: Manifest, output: OutputSpec, options: ReadOptions, *, targets: bool = True
) -> Data:
    """Read samples, with what is right of them.

    Args:
        output: the output that the targets are of.
        targets: False for data that need none; a folder may then hold its files without folders of classes.

    Raises:
        RuntimeInputError: there is nothing to read, it is not what the network takes, or targets are missing or wrong.
    """
    path = require_path("the data", place)
    options = replace(options, class_names=options.class_names or _said(manifest, output))
    if path.is_dir():
        found = _folder(path, manifest, output, options, targets=targets)
    elif path.suffix.lower() == ".parquet":
        from hnexport.evaluate.parquet import read_parquet

        found = read_parquet(path, manifest, output, options, targets=targets)
    elif is_archive(path):
        inputs, right = _archive(path, manifest, output, options, targets=targets)
        found = Data(inputs=inputs, targets=right, place=str(path), class_names=options.class_names)
    else:
        raise RuntimeInputError(f"{path} is no data: expected a folder with a folder for each class, .npz or .parquet")
    samples = batch_size(manifest.signature, found.inputs)
    if found.targets is not None:
        check_targets(found.targets, samples, output, str(path))
    return Data(**{**vars(found), "samples": samples})


def _archive(
    path: Path, manifest: Manifest, output: OutputSpec, options: ReadOptions, *, targets: bool
) -> tuple[dict[str, Array], Array | None]:
    """Inputs by their names, and beside them the targets."""
    names = [name for name in array_names(path) if name not in {item.name for item in manifest.signature.inputs}]
    held = [name for name in names if name == options.target or (options.target is None and name in TARGETS)]
    if targets and len(held) != 1:
        raise RuntimeInputError(
            f"{path}: expected one array {options.target or ' or '.join(TARGETS)} with what is right, found "
            f"{', '.join(held or names) or 'none beside the inputs'}"
        )
    besides = (target_spec(held[0], output),) if targets else ()
    words = tuple(one.name for one in besides if output.axis is not None)  # classes may be said by name
    arrays = read_archive(path, manifest.signature, besides, ignored=() if targets else tuple(names), words=words)
    right = arrays.pop(held[0]) if targets else None
    if right is not None and right.dtype.kind == "U":
        right = named_targets(right, options.class_names, f"{path}[{held[0]}]")
    return arrays, right


def _said(manifest: Manifest, output: OutputSpec) -> tuple[str, ...]:
    """The names of the classes that the bundle says."""
    return distinct(manifest.usage.class_names.get(output.name, ()))


def _folder(path: Path, manifest: Manifest, output: OutputSpec, options: ReadOptions, *, targets: bool) -> Data:
    folders = _visible(path, directories=True)
    if not targets:
        files = [file for folder in (folders or [path]) for file in _visible(folder)]
        inputs, normalised = _files(files, path, manifest, options)
        return Data(inputs=inputs, targets=None, place=str(path), normalised=normalised)
    if output.axis is None:
        raise RuntimeInputError(f"{path} is a folder of classes, and {output.name} is a value: give .npz or .parquet")
    if not folders:
        raise RuntimeInputError(f"{path} holds no folders: expected one for each class, with its files in it")
    numbers, order = _numbers(path, [one.name for one in folders], output, options.class_names)
    files, labels = [], []
    for folder, number in zip(folders, numbers, strict=True):
        held = _visible(folder)
        files += held
        labels += [number] * len(held)
    names = options.class_names or (tuple(one.name for one in folders) if order else ())
    inputs, normalised = _files(files, path, manifest, options)
    return Data(
        inputs=inputs,
        targets=np.array(labels, np.int64),
        place=str(path),
        class_names=names,
        class_order=order,
        normalised=normalised,
    )


def _numbers(path: Path, folders: Sequence[str], output: OutputSpec, names: Sequence[str]) -> tuple[list[int], str]:
    """The class of each folder, and how it got its number: by its name, as a number, or by its place among them.

    Folders that are called as classes are win over folders that are called by numbers.
    """
    unknown = next((name for name in folders if name not in names), None)
    if unknown is None:
        return [names.index(name) for name in folders], ""
    if all(CLASS_NUMBERS.fullmatch(name) for name in folders):
        return [int(name) for name in folders], ""
    if names:
        raise RuntimeInputError(
            f"{path}: the folder {unknown!r} is none of the classes {', '.join(names[:8])}{', …' * (len(names) > 8)}: "
            f"rename it, or name the classes in their order with {spelled('class_names=(…)', '--labels FILE')}"
        )
    classes = output.shape[output.axis or 0]
    if len(folders) != classes:
        raise RuntimeInputError(
            f"{path} has {len(folders)} folders, the network {classes} classes: name the classes in their order with "
            f"{spelled('class_names=(…)', '--labels FILE')}, or call the folders 0, 1, 2 and so on"
        )
    return list(range(len(folders))), "folders sorted by name"


def _files(
    files: Sequence[Path], path: Path, manifest: Manifest, options: ReadOptions
) -> tuple[dict[str, Array], AppliedNormalisation | None]:
    """Pictures and arrays of the only input, and how pictures were normalised."""
    if not files:
        raise RuntimeInputError(f"{path} holds no files")
    image, inputs = image_input(manifest), manifest.signature.inputs
    if image is not None:
        batch = read_images(files, image, **options.pictures)
        return {image.tensor.name: batch.images}, next((one for one in batch.normalised if one is not None), None)
    if len(inputs) != 1:
        raise RuntimeInputError(f"{path} is a folder, and this network takes {len(inputs)} inputs: give .npz")
    return {inputs[0].name: np.concatenate([read_array(file, inputs[0]) for file in files])}, None


def _visible(folder: Path, *, directories: bool = False) -> list[Path]:
    try:
        held = sorted(folder.iterdir())
    except OSError as error:
        raise RuntimeInputError(f"{folder} cannot be read: {error.strerror}") from error
    return [one for one in held if not one.name.startswith(".") and one.is_dir() == directories]
