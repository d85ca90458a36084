"""From picture files and arrays to one batch in the graph's dtype and layout."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.images.normalising import AppliedNormalisation
from hnexport.images.reader import PictureReader
from hnexport.reading import shown
from hnexport.runtime.validation import require_path
from hnexport.spec.images import ImageInput
from hnexport.spec.usage import Normalisation

__all__ = ["ImageBatch", "Normalisation", "read_images"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageBatch:
    """Images as a graph takes them.

    Attributes:
        images: `[batch, …]`, in the dtype and layout of the graph's image input.
        names: where each image comes from: `cat.png`, or `images.npy[3]`.
        normalised: how each picture was normalised; None of an image from an array, which is taken as it is.
    """

    images: NDArray[Any]
    names: tuple[str, ...]
    normalised: tuple[AppliedNormalisation | None, ...]


def read_images(
    paths: Sequence[str | os.PathLike[str]],
    image: ImageInput | None,
    *,
    normalisation: Normalisation | None = None,
    resize: bool = False,
    background: str | tuple[int, int, int] | None = None,
    frame: int | None = None,
) -> ImageBatch:
    """Read image files as one batch.

    Args:
        image: the input that takes them: `LoadedEnsemble.image_input`, or `image_input(manifest)`.
        normalisation: how training normalised pictures; None takes what the ensemble says (`image.normalisation`).
        resize: scale pictures of another size (bicubic, the proportions are not kept) instead of refusing them.
        background: the colour behind pictures that are not opaque: a name such as "white", "#ffffff", "255,255,255" or
            the three numbers. None refuses such pictures: what lies behind them is not in the file.
        frame: which frame or page of each picture, from 0. None refuses pictures that have several.

    Raises:
        RuntimeInputError: no file is given, or one cannot be read or is not what the graph takes; the message names it.
            The network takes no pictures. A picture is given, and nobody said how training normalised them.
        SpecError: mean or std do not fit the channels.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise RuntimeInputError(f"paths must be a list of paths, such as [{shown(paths)}]")
    if not paths:
        raise RuntimeInputError("no image was given")
    reader = PictureReader.of(image, normalisation=normalisation, resize=resize, background=background, frame=frame)
    images, names = [], []
    normalised: list[AppliedNormalisation | None] = []
    for path in (require_path("an image", one) for one in paths):
        array, applied = reader.file(path)
        normalised += [applied] * len(array)
        names += [f"{path.name}[{number}]" if len(array) > 1 else path.name for number in range(len(array))]
        images.append(array)
    return ImageBatch(images=np.concatenate(images), names=tuple(names), normalised=tuple(normalised))
