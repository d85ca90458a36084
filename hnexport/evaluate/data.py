"""Samples and what is right of them, from a folder of classes, a `.npz` file or Parquet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.datasets.sizes import samples_at_once
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.batches import Batch, Batches, picture_batch
from hnexport.evaluate.targets import CLASS_NUMBERS, TARGETS, ReadOptions, check_targets, named_targets, target_spec
from hnexport.images import AppliedNormalisation, distinct, image_input
from hnexport.images.archives import archive_rows, archive_shapes, array_names, is_archive, read_archive
from hnexport.images.arrays import array_shape, read_array
from hnexport.images.files import open_file
from hnexport.images.normalising import applied_to
from hnexport.reading import shown
from hnexport.runtime.validation import require_path
from hnexport.spec import OutputSpec
from hnexport.spelling import spelled

__all__ = ["Data", "read_data"]

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """Samples of a network.

    Attributes:
        batches: the inputs by name, as the network takes them, some samples at a time.
        targets: of logits int64 `[sample, …]`, the number of the right class; of a value float64 `[sample, …]`. None
            where nobody asked for them.
        samples: how many.
        place: where they come from.
        class_names: in the classes' order; empty where the data do not say.
        class_order: how they got their numbers, in words; "" where the data have the network's.
    """

    batches: Batches = field(repr=False)
    targets: Array | None
    samples: int
    place: str
    class_names: tuple[str, ...] = ()
    class_order: str = ""

    @property
    def normalised(self) -> AppliedNormalisation | None:
        """How pictures were; None where there are none."""
        return self.batches.normalised


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

        table = read_parquet(path, manifest, output, options, targets=targets)
        found = Data(
            batches=Batches(table.batches),
            targets=table.targets,
            samples=table.samples,
            place=str(path),
            class_names=table.class_names,
            class_order=table.class_order,
        )
    elif is_archive(path):
        found = _archive(path, manifest, output, options, targets=targets)
    else:
        raise RuntimeInputError(f"{path} is no data: expected a folder with a folder for each class, .npz or .parquet")
    if found.targets is not None:
        check_targets(found.targets, found.samples, output, str(path))
    return found


def _archive(path: Path, manifest: Manifest, output: OutputSpec, options: ReadOptions, *, targets: bool) -> Data:
    """Inputs by their names, and beside them the targets."""
    signature, every = manifest.signature, array_names(path)
    names = [name for name in every if name not in {item.name for item in signature.inputs}]
    held = [name for name in names if name == options.target or (options.target is None and name in TARGETS)]
    if targets and len(held) != 1:
        raise RuntimeInputError(
            f"{path}: expected one array {options.target or ' or '.join(TARGETS)} with what is right, found "
            f"{', '.join(held or names) or 'none beside the inputs'}"
        )
    unknown = next((name for name in names if targets and name not in held), None)
    if unknown is not None:
        raise RuntimeInputError(
            f"{path} has an array {shown(unknown)} too many: this network takes "
            f"{', '.join(item.name for item in signature.inputs)}"
        )
    shapes = archive_shapes(path, signature.inputs, names)
    counted = {item.name: shapes[item.name][0] for item in signature.inputs if item.has_batch}
    first, *more = counted or {"": 1}
    other = next((name for name in more if counted[name] != counted[first]), None)
    if other is not None:
        raise RuntimeInputError(
            f"{path}: {first} has {counted[first]} samples, {other} {counted[other]}: they belong together"
        )
    if not counted.get(first, 1):
        raise RuntimeInputError(f"{path} holds no samples")
    rows = samples_at_once(signature, shapes)
    return Data(
        batches=Batches(lambda: (Batch(inputs=one) for one in archive_rows(path, signature.inputs, rows, names))),
        targets=_right(path, held[0], output, every, options) if targets else None,
        samples=counted.get(first, 1),
        place=str(path),
        class_names=options.class_names,
    )


def _right(path: Path, name: str, output: OutputSpec, every: Sequence[str], options: ReadOptions) -> Array:
    """The targets of an archive; classes may be said by name."""
    others, words = [one for one in every if one != name], (name,) if output.axis is not None else ()
    right = read_archive(path, (target_spec(name, output),), others, words)[name]
    return named_targets(right, options.class_names, f"{path}[{name}]") if right.dtype.kind == "U" else right


def _folder(path: Path, manifest: Manifest, output: OutputSpec, options: ReadOptions, *, targets: bool) -> Data:
    folders = _visible(path, directories=True)
    if not targets:
        files = [file for folder in (path, *folders) for file in _files_of(folder, within=folder is path)]
        return Data(
            batches=_files(files, path, manifest, options),
            targets=None,
            samples=sum(_samples_of(file, manifest) for file in files),
            place=str(path),
        )
    if output.axis is None:
        raise RuntimeInputError(f"{path} is a folder of classes, and {output.name} is a value: give .npz or .parquet")
    if not folders:
        raise RuntimeInputError(f"{path} holds no folders: expected one for each class, with its files in it")
    numbers, order = _numbers(path, [one.name for one in folders], output, options.class_names)
    files, labels = [], list[int]()
    for folder, number in zip(folders, numbers, strict=True):
        for file in _files_of(folder):
            files.append(file)
            labels += [number] * _samples_of(file, manifest)
    names = options.class_names or (tuple(one.name for one in folders) if order else ())
    return Data(
        batches=_files(files, path, manifest, options),
        targets=np.array(labels, np.int64),
        samples=len(labels),
        place=str(path),
        class_names=names,
        class_order=order,
    )


def _said(manifest: Manifest, output: OutputSpec) -> tuple[str, ...]:
    """The names of the classes that the bundle says."""
    return distinct(manifest.usage.class_names.get(output.name, ()))


def _numbers(path: Path, folders: Sequence[str], output: OutputSpec, names: Sequence[str]) -> tuple[list[int], str]:
    """The class of each folder, and how it got its number: by its name, as a number, or by its place among them.

    Folders that are called as classes are win over folders that are called by numbers.
    """
    unknown = next((name for name in folders if name not in names), None)
    if unknown is None:
        return [names.index(name) for name in folders], ""
    if all(CLASS_NUMBERS.fullmatch(name) for name in folders):
        _check_meant(path, folders, names)
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


def _check_meant(path: Path, folders: Sequence[str], names: Sequence[str]) -> None:
    """Refuse folders called by numbers where a class is called by the number of another one: both could be meant."""
    both = next((one for one in folders if one in names and names.index(one) != int(one)), None)
    if both is not None:
        other = next(one for one in folders if one not in names)
        raise RuntimeInputError(
            f"{path}: the folder {both!r} is the name of class {names.index(both)} and the number of another, and no "
            f"class is called {other!r}: call all folders as classes are, or name the classes in their order with "
            f"{spelled('class_names=(…)', '--labels FILE')}"
        )


def _files(files: Sequence[Path], path: Path, manifest: Manifest, options: ReadOptions) -> Batches:
    """Pictures and arrays of the only input; an array is read whole."""
    if not files:
        raise RuntimeInputError(f"{path} holds no files")
    image, inputs = image_input(manifest), manifest.signature.inputs
    if image is None and len(inputs) != 1:
        raise RuntimeInputError(f"{path} is a folder, and this network takes {len(inputs)} inputs: give .npz")
    rows = samples_at_once(manifest.signature)

    def read() -> Iterator[Batch]:
        for start in range(0, len(files), rows):
            some = files[start : start + rows]
            if image is None:
                yield Batch(inputs={inputs[0].name: np.concatenate([read_array(file, inputs[0]) for file in some])})
            else:
                yield picture_batch(some, image, options.pictures)

    picture = next((file for file in files if file.suffix.lower() != ".npy"), None)
    if image is None or picture is None:
        return Batches(read)
    return Batches(read, applied_to(image, options.pictures.get("normalisation"), str(picture)))


def _samples_of(file: Path, manifest: Manifest) -> int:
    """A picture is one sample, an array as many as it says."""
    inputs = manifest.signature.inputs
    if file.suffix.lower() != ".npy" or len(inputs) != 1 or not inputs[0].has_batch:
        return 1
    with open_file(file, "a .npy file") as opened:
        return array_shape(opened, inputs[0], str(file))[0]


def _files_of(folder: Path, *, within: bool = False) -> list[Path]:
    """The files of a folder. Folders in it are refused unless they are `within` what is read: none is left out."""
    inner = [] if within else _visible(folder, directories=True)
    if inner:
        raise RuntimeInputError(f"{inner[0]} is a folder in the folder of a class: put its files into {folder} itself")
    return _visible(folder)


def _visible(folder: Path, *, directories: bool = False) -> list[Path]:
    try:
        held = sorted(folder.iterdir())
    except OSError as error:
        raise RuntimeInputError(f"{folder} cannot be read: {error.strerror}") from error
    return [one for one in held if not one.name.startswith(".") and one.is_dir() == directories]
