"""From files to what a network takes: pictures for one image input, arrays by name for any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.cli.pictures import reading_options
from hnexport.errors import RuntimeInputError
from hnexport.images import AppliedNormalisation, image_input, read_images
from hnexport.images.archives import is_archive, read_archive
from hnexport.images.arrays import read_array
from hnexport.reading import shown
from hnexport.spec import Signature

__all__ = ["Samples", "read_inputs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What files held.

    Attributes:
        inputs: every input of the network by name, as it takes it.
        names: of the samples.
        word: what a sample is called: "image" where pictures can be given, otherwise "sample".
        normalised: how each picture was normalised, None of a sample from an array; empty where there are no pictures.
    """

    inputs: Mapping[str, NDArray[Any]]
    names: tuple[str, ...]
    word: str
    normalised: tuple[AppliedNormalisation | None, ...] = ()


def read_inputs(
    manifest: Manifest,
    files: Sequence[Path],
    named: Sequence[tuple[str, Path]],
    pictures: Mapping[str, Any],
) -> Samples:
    """The inputs of a network from the files of a command.

    Args:
        files: pictures and arrays of the only input, or one `.npz` with every input.
        named: arrays by the names of the inputs.
        pictures: `mean`, `std`, `resize`, `background` and `frame`, which say what is made of pictures.

    Raises:
        click.UsageError: what was given contradicts itself.
        RuntimeInputError: a file cannot be read, or is not what the network takes.
    """
    signature, image = manifest.signature, image_input(manifest)
    if files and named:
        raise click.UsageError("give the inputs as files or with --input, not both")
    if named:
        return _named(signature, named, pictures)
    if image is None and len(files) == 1 and is_archive(files[0]):
        _refuse_picture_options(pictures)
        return _samples(signature, read_archive(files[0], signature.inputs), files[0].name)
    if image is not None:
        batch = read_images(files, image, **reading_options(pictures, files))
        inputs = {image.tensor.name: batch.images}
        return Samples(inputs=inputs, names=batch.names, word="image", normalised=batch.normalised)
    if len(signature.inputs) != 1:
        options_needed = " ".join(f"--input {tensor.name}=FILE.npy" for tensor in signature.inputs)
        raise RuntimeInputError(
            f"this network takes {len(signature.inputs)} inputs: give {options_needed}, or one .npz with arrays of "
            "these names"
        )
    _refuse_picture_options(pictures)
    return _alone(signature, files)


def _alone(signature: Signature, files: Sequence[Path]) -> Samples:
    """The only input of a network, joined from several files where it has a batch axis."""
    (tensor,) = signature.inputs
    if len(files) > 1 and not tensor.has_batch:
        raise RuntimeInputError(f"{tensor.name} has no batch axis: give one file")
    arrays = [read_array(path, tensor) for path in files]
    different = next((array for array in arrays if array.shape[1:] != arrays[0].shape[1:]), None)
    if different is not None:
        raise RuntimeInputError(
            f"samples of {tensor.name} have different sizes, {list(arrays[0].shape[1:])} and "
            f"{list(different.shape[1:])}: give them one at a time"
        )
    if not tensor.has_batch:
        return _samples(signature, {tensor.name: arrays[0]}, files[0].name)
    names = [
        f"{path.name}[{number}]" if len(array) > 1 else path.name
        for path, array in zip(files, arrays, strict=True)
        for number in range(len(array))
    ]
    return Samples(inputs={tensor.name: np.concatenate(arrays)}, names=tuple(names), word="sample")


def _named(signature: Signature, named: Sequence[tuple[str, Path]], pictures: Mapping[str, Any]) -> Samples:
    _refuse_picture_options(pictures)
    names, given = [tensor.name for tensor in signature.inputs], [name for name, _ in named]
    twice = next((name for name in given if given.count(name) > 1), None)
    unknown = next((name for name in given if name not in names), None)
    missing = next((name for name in names if name not in given), None)
    if twice is not None:
        raise click.UsageError(f"--input {twice} is given twice")
    if unknown is not None:
        raise RuntimeInputError(f"there is no input {shown(unknown)}: this network takes {', '.join(names)}")
    if missing is not None:
        raise RuntimeInputError(f"the input {missing!r} is missing: give --input {missing}=FILE.npy")
    paths = dict(named)
    return _samples(signature, {tensor.name: read_array(paths[tensor.name], tensor) for tensor in signature.inputs}, "")


def _samples(signature: Signature, inputs: Mapping[str, NDArray[Any]], file: str) -> Samples:
    """Named by their numbers, and by the file where it is one."""
    count = next((len(inputs[tensor.name]) for tensor in signature.inputs if tensor.has_batch), 1)
    start = file or "sample "
    names = tuple(f"{start}[{number}]" if file else f"{start}{number}" for number in range(count))
    return Samples(inputs=inputs, names=names if count > 1 or not file else (file,), word="sample")


def _refuse_picture_options(pictures: Mapping[str, Any]) -> None:
    given = next((name for name, value in pictures.items() if value not in (None, False)), None)
    if given is not None:
        raise click.UsageError(
            f"--{given} says how pictures become an input, arrays are taken as they are: leave it out"
        )
