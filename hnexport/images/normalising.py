"""From pixels to what a graph takes, and who said how training normalised them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError, SpecError
from hnexport.spec.images import ImageInput, ImageLayout
from hnexport.spec.usage import Normalisation
from hnexport.spelling import spelled

__all__ = ["AppliedNormalisation", "NormalisedBy", "applied_to", "arranged", "from_pixels", "in_words", "required"]


class NormalisedBy(StrEnum):
    """Who said how pictures are normalised: whoever gave them, the ensemble, or the graph, which does it itself."""

    GIVEN = "given"
    ENSEMBLE = "ensemble"
    GRAPH = "graph"


@dataclass(frozen=True, kw_only=True)
class AppliedNormalisation:
    """How pictures became an input: `(pixel / 255 - mean) / std`, or the pixels themselves.

    Attributes:
        by: who said it.
        mean, std: one number, or one a channel; None where the graph takes pixels.
    """

    by: NormalisedBy
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def told(self, holder: str = "bundle") -> str:
        """In one line, with who said it; `holder` is what the ensemble lies in."""
        if self.mean is None or self.std is None:
            return "pictures: pixels from 0 to 255, the graph normalises them"
        by = spelled("the call", "the command") if self.by is NormalisedBy.GIVEN else f"the {holder}"
        return f"pictures: (pixel/255 - mean) / std, {in_words(self.mean, self.std)}, as {by} says"


def applied_to(image: ImageInput, given: Normalisation | None, subject: str) -> AppliedNormalisation:
    """How an input's pictures are normalised: as is given, else as the ensemble says.

    Args:
        subject: what is to be read, for messages.

    Raises:
        RuntimeInputError: the graph normalises pictures itself, or nobody said how training did.
        SpecError: mean or std do not fit the channels.
    """
    if image.tensor.dtype == "uint8":
        if given is not None:
            raise RuntimeInputError(
                "this graph normalises its images itself, it takes pixels (uint8): leave "
                f"{spelled('normalisation', '--mean and --std')} out"
            )
        return AppliedNormalisation(by=NormalisedBy.GRAPH)
    said = image.normalisation if given is None else given
    if said is None:
        how, plain = spelled("normalisation=Normalisation(mean=(…), std=(…))", "--mean … --std …"), "Normalisation()"
        raise RuntimeInputError(
            f"{subject}: this ensemble does not say how training normalised pictures, and a wrong guess gives wrong "
            f"numbers: give {how}, or {spelled(plain, '--mean 0 --std 1')} where training took pixel / 255"
        )
    try:
        said.check_channels(image.channels)
    except SpecError as error:
        own = image.normalisation
        if given is None or own is None:
            raise
        said_by_it = f"{error}; the ensemble says {in_words(own.mean, own.std)}, which is used where nothing is given"
        raise SpecError(said_by_it) from None
    by = NormalisedBy.ENSEMBLE if given is None else NormalisedBy.GIVEN
    return AppliedNormalisation(by=by, mean=said.mean, std=said.std)


def required(image: ImageInput | None) -> ImageInput:
    """The input that takes pictures.

    Raises:
        RuntimeInputError: there is none.
    """
    if image is None:
        raise RuntimeInputError("this network takes no pictures: it has no input of images, or other inputs beside it")
    return image


def from_pixels(
    pixels: NDArray[np.uint8], image: ImageInput | None, *, normalisation: Normalisation | None = None
) -> NDArray[Any]:
    """Decoded pictures as a graph takes them, in its dtype and layout.

    Args:
        pixels: uint8 `[batch, height, width, channel]`, or one picture without the batch axis, from 0 to 255, in the
            size and with the channels (red, green, blue, or grey) that the graph takes.
        image: the input that takes them: `LoadedEnsemble.image_input`, or `image_input(manifest)`.
        normalisation: of the training; None takes what the ensemble says.

    Raises:
        RuntimeInputError: the network takes no pictures or normalises them itself, the pixels have another dtype or
            shape, or nobody said how training normalised them.
        SpecError: mean or std do not fit the channels.
    """
    found, image = np.asarray(pixels), required(image)
    row = (image.height, image.width, image.channels)
    if found.dtype != np.uint8 or found.shape[-3:] != row or found.ndim not in (3, 4):
        raise RuntimeInputError(
            f"expected pixels uint8 [batch, {', '.join(map(str, row))}], found {found.dtype} {list(found.shape)}"
        )
    return arranged(found.reshape(-1, *row), image, applied_to(image, normalisation, "these pixels"))


def arranged(pixels: NDArray[np.uint8], image: ImageInput, applied: AppliedNormalisation) -> NDArray[Any]:
    """From uint8 `[batch, height, width, channel]` to the graph's dtype and layout."""
    values: NDArray[Any] = pixels
    if applied.by is not NormalisedBy.GRAPH:
        mean, std = np.array(applied.mean, dtype=np.float32), np.array(applied.std, dtype=np.float32)
        values = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    if image.layout is ImageLayout.NCHW:
        values = values.transpose(0, 3, 1, 2)
    sizes = tuple(size for size in image.tensor.row if isinstance(size, int))
    return np.ascontiguousarray(values.reshape(-1, *sizes))


def in_words(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """`mean 0.5, 0.4, 0.3, std 0.2`, to six digits."""
    return ", ".join(
        f"{name} {', '.join(f'{one:.6g}' for one in values)}" for name, values in (("mean", mean), ("std", std))
    )
