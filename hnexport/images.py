"""Image files as the batch that a graph takes.

PNG, JPEG and whatever else Pillow reads becomes pixels 0 to 255, in the graph's size, layout and dtype. A graph that
takes `uint8` gets the pixels. A graph that takes `float32` gets `pixel / 255`, and `(pixel / 255 - mean) / std` where
mean and std are given: they belong to the training, so none are assumed. A `.npy` file holds what the graph takes
already, one image or a batch, and is not changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.spec import ImageLayout, PipelineSpec

__all__ = ["ImageBatch", "Normalisation", "read_images", "read_labels"]


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What a float32 graph's images need beside `pixel / 255`: one mean and one std for each channel, or one for all.

    Raises:
        RuntimeInputError: a std is not positive, or a number is not finite.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std) <= 0:
            raise RuntimeInputError(
                f"mean and std must be finite and std positive, found mean {self.mean}, std {self.std}"
            )

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """From uint8 `[…, channel]` to float32 of the same shape."""
        channels = pixels.shape[-1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise RuntimeInputError(f"{name} needs 1 or {channels} numbers, one a channel, found {len(values)}")
        mean, std = (np.array(values, dtype=np.float32) for values in (self.mean, self.std))
        normalised: NDArray[np.float32] = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return normalised


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
    paths: Sequence[Path], spec: PipelineSpec, *, normalisation: Normalisation | None = None, resize: bool = False
) -> ImageBatch:
    """Read image files as one batch.

    Args:
        resize: scale pictures of another size (bicubic, the proportions are not kept) instead of refusing them.

    Raises:
        RuntimeInputError: no file is given, or one cannot be read or is not what the graph takes; the message names it.
    """
    if not paths:
        raise RuntimeInputError("no image was given")
    dtype, _ = spec.image_input
    if dtype == "uint8" and normalisation is not None:
        raise RuntimeInputError("this graph normalises its images itself: leave mean and std out")
    images, names = [], []
    for path in paths:
        if path.suffix.lower() == ".npy":
            array = _read_array(path, spec)
            names += [f"{path.name}[{number}]" if len(array) > 1 else path.name for number in range(len(array))]
        else:
            array = _arrange(_read_picture(path, spec, resize=resize)[np.newaxis], spec, normalisation)
            names.append(path.name)
        images.append(array)
    return ImageBatch(images=np.concatenate(images), names=tuple(names))


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """The names of the classes, one a line.

    Raises:
        RuntimeInputError: the file cannot be read, or does not have `classes` lines.
    """
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise RuntimeInputError(f"{path} cannot be read: {error}") from error
    if len(labels) != classes:
        raise RuntimeInputError(f"{path}: expected {classes} labels, one a line, found {len(labels)}")
    return labels


def _read_picture(path: Path, spec: PipelineSpec, *, resize: bool) -> NDArray[np.uint8]:
    """uint8 `[height, width, channel]`."""
    from PIL import Image, ImageOps

    channels, height, width = spec.network.image.shape
    modes = {1: "L", 3: "RGB"}
    if channels not in modes:
        raise RuntimeInputError(f"{path}: this graph takes {channels} channels, give its images as .npy")
    try:
        with Image.open(path) as picture:
            if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
                raise RuntimeInputError(
                    f"{path} has more than 8 bits a channel (mode {picture.mode}): convert it first, or give .npy"
                )
            upright = ImageOps.exif_transpose(picture).convert(modes[channels])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, RuntimeInputError):
            raise
        raise RuntimeInputError(f"{path} cannot be read as an image: {error}") from error
    if upright.size != (width, height):
        if not resize:
            found = "x".join(map(str, upright.size))
            raise RuntimeInputError(
                f"{path} is {found} pixels (width x height), this graph takes {width}x{height}: "
                "scale it, or give --resize (resize=True)"
            )
        upright = upright.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(upright, dtype=np.uint8).reshape(height, width, channels)


def _arrange(pixels: NDArray[np.uint8], spec: PipelineSpec, normalisation: Normalisation | None) -> NDArray[Any]:
    """From uint8 `[batch, height, width, channel]` to the graph's dtype and layout."""
    dtype, shape = spec.image_input
    values: NDArray[Any] = pixels if dtype == "uint8" else (normalisation or Normalisation()).apply(pixels)
    if spec.image_layout is ImageLayout.NCHW:
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values.reshape(-1, *shape))


def _read_array(path: Path, spec: PipelineSpec) -> NDArray[Any]:
    """`[batch, …]` from a `.npy` file that holds one image or several."""
    dtype, shape = spec.image_input
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RuntimeInputError(f"{path} cannot be read as a .npy file: {error}") from error
    if not isinstance(array, np.ndarray):
        raise RuntimeInputError(f"{path} holds several arrays: give a .npy file with one")
    batch = array[np.newaxis] if array.shape == shape else array
    if batch.shape[1:] != shape or batch.dtype != dtype or not len(batch):
        axes = ", ".join(map(str, shape))
        raise RuntimeInputError(
            f"{path}: expected {dtype} [{axes}] or [batch, {axes}], found {array.dtype} {list(array.shape)}"
        )
    return np.ascontiguousarray(batch)
