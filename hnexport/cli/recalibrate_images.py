"""Training images from files, as a checkpoint's graph takes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray

from hnexport.families import Checkpoint, family
from hnexport.images import Normalisation, read_images

__all__ = ["training_images"]


def training_images(checkpoint: Checkpoint, files: Sequence[Path], pictures: Mapping[str, Any]) -> NDArray[Any]:
    """The images of all files, `[image, …]`.

    Args:
        pictures: `mean`, `std`, `resize`, `background` and `frame`, which say what is made of pictures.

    Raises:
        click.UsageError: nobody said how pictures are normalised.
        RuntimeInputError: a file cannot be read, or is not what the graph takes.
    """
    source = checkpoint.ensemble().source
    image = family(source.family).image(source.spec)  # type: ignore[attr-defined]  # the one with checkpoints has it
    mean, std = pictures["mean"], pictures["std"]
    normalised = image.tensor.dtype == "uint8" or all(path.suffix.lower() == ".npy" for path in files)
    if not normalised and mean is None and std is None:
        raise click.UsageError(
            "the statistics depend on how training normalised pictures: give --mean and --std "
            "(--mean 0 --std 1 where it took pixel/255)"
        )
    given = None if mean is None and std is None else Normalisation(mean=mean or (0.0,), std=std or (1.0,))
    options = {name: pictures[name] for name in ("resize", "background", "frame")}
    return read_images(files, image, normalisation=given, **options).images
