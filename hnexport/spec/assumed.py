"""What was assumed of an ensemble, since no tensor says it and nobody else did. Standard library only."""

from enum import StrEnum

from hnexport.spec.images import ImageInput
from hnexport.spec.usage import NORMALISATION, Usage
from hnexport.spelling import spelled

__all__ = ["Assumed", "assumptions"]


class Assumed(StrEnum):
    """The words of `Usage.assumed`.

    `image-size`: height and width of the images. `normalisation`: that images are normalised as in training before they
    reach the graph.
    """

    IMAGE_SIZE = "image-size"
    NORMALISATION = NORMALISATION


def assumptions(usage: Usage, image: ImageInput | None) -> tuple[str, ...]:
    """A line for each word, and how to say it; a word that is not known here stands for itself."""
    return tuple(_line(word, image) for word in usage.assumed)


def _line(word: str, image: ImageInput | None) -> str:
    if word == Assumed.NORMALISATION:
        how = spelled("with_usage(Usage(normalisation=Normalisation(…)))", "--mean … --std …")
        within = spelled("with_input(preprocess=…)", "--preprocess uint8")
        return (
            f"images that are normalised as in training before they reach the graph; {how} says how, {within} makes "
            "that a part of it"
        )
    if word == Assumed.IMAGE_SIZE and image is not None:
        size = spelled("image_height=… and image_width=…", f"--image {image.channels},HEIGHT,WIDTH")
        return (
            f"images of {image.height}x{image.width}, since no tensor shows their height and width; {size} says others"
        )
    return word
