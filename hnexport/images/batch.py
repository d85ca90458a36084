"""From picture files and arrays to one batch in the graph's dtype and layout."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.images.arrays import read_array
from hnexport.images.pictures import PictureOptions, read_picture
from hnexport.reading import shown
from hnexport.runtime.validation import require_path
from hnexport.spec.images import ImageInput, ImageLayout
from hnexport.spec.usage import Normalisation

__all__ = ["ImageBatch", "Normalisation", "read_images"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageBatch:
    """Images as a graph takes them.

    Attributes:
        images: `[batch, …]`, in the dtype and layout of the graph's image input.
        names: where each image comes from: `cat.png`, or `images.npy[3]`.
    """

    images: NDArray[Any]
    names: tuple[str, ...]


def read_images(
    paths: Sequence[str | os.PathLike[str]],
    image: ImageInput,
    *,
    normalisation: Normalisation | None = None,
    resize: bool = False,
    background: str | tuple[int, int, int] | None = None,
    frame: int | None = None,
) -> ImageBatch:
    """Read image files as one batch.

    Args:
        image: the input that takes them, see `image_input`.
        resize: scale pictures of another size (bicubic, the proportions are not kept) instead of refusing them.
        background: the colour behind pictures that are not opaque: a name such as "white", "#ffffff", "255,255,255" or
            the three numbers. None refuses such pictures: what lies behind them is not in the file.
        frame: which frame or page of each picture, from 0. None refuses pictures that have several.

    Raises:
        RuntimeInputError: no file is given, or one cannot be read or is not what the graph takes; the message names it.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise RuntimeInputError(f"paths must be a list of paths, such as [{shown(paths)}]")
    if not paths:
        raise RuntimeInputError("no image was given")
    if image.tensor.dtype == "uint8" and normalisation is not None:
        raise RuntimeInputError("this graph normalises its images itself: leave mean and std out")
    options = PictureOptions.of(resize=resize, background=background, frame=frame)
    images, names = [], []
    for path in (require_path("an image", one) for one in paths):
        if path.suffix.lower() == ".npy":
            array = read_array(path, image.tensor)
            names += [f"{path.name}[{number}]" if len(array) > 1 else path.name for number in range(len(array))]
        elif path.suffix.lower() == ".npz":
            raise RuntimeInputError(f"{path} is an archive of arrays (.npz): save the one with the images as .npy")
        else:
            array = _arrange(read_picture(path, image, options)[np.newaxis], image, normalisation)
            names.append(path.name)
        images.append(array)
    return ImageBatch(images=np.concatenate(images), names=tuple(names))


def _arrange(pixels: NDArray[np.uint8], image: ImageInput, normalisation: Normalisation | None) -> NDArray[Any]:
    """From uint8 `[batch, height, width, channel]` to the graph's dtype and layout."""
    values: NDArray[Any] = pixels if image.tensor.dtype == "uint8" else _normalised(pixels, normalisation)
    if image.layout is ImageLayout.NCHW:
        values = values.transpose(0, 3, 1, 2)
    sizes = tuple(size for size in image.tensor.row if isinstance(size, int))
    return np.ascontiguousarray(values.reshape(-1, *sizes))


def _normalised(pixels: NDArray[np.uint8], normalisation: Normalisation | None) -> NDArray[np.float32]:
    """From uint8 `[…, channel]` to float32 of the same shape."""
    asked = normalisation or Normalisation()
    asked.check_channels(pixels.shape[-1])
    mean, std = (np.array(values, dtype=np.float32) for values in (asked.mean, asked.std))
    normalised: NDArray[np.float32] = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return normalised
