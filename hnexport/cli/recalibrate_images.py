"""Training images from files, as a checkpoint's graph takes them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hnexport.cli.pictures import reading_options
from hnexport.families import Checkpoint, family
from hnexport.images import ImageBatch, read_images

__all__ = ["training_images"]


def training_images(checkpoint: Checkpoint, files: Sequence[Path], pictures: Mapping[str, Any]) -> ImageBatch:
    """The images of all files; pictures are normalised as the command or else the checkpoint says.

    Args:
        pictures: `mean`, `std`, `resize`, `background` and `frame`, which say what is made of pictures.

    Raises:
        click.UsageError: what was said of pictures contradicts itself.
        RuntimeInputError: a file cannot be read, or is not what the graph takes, or nobody said how pictures are
            normalised, on which the statistics depend.
    """
    ensemble = checkpoint.ensemble()
    image = family(ensemble.source.family).image(ensemble.source.spec)  # type: ignore[attr-defined]  # it has it
    image = dataclasses.replace(image, normalisation=ensemble.usage.normalisation)
    return read_images(files, image, **reading_options(pictures, image, files))
