"""What was assumed of an ensemble, since no tensor says it and nobody else did. Standard library only."""

from enum import StrEnum

from hnexport.spec.images import ImageInput
from hnexport.spec.usage import NORMALISATION, Usage
from hnexport.spelling import spelled

__all__ = ["Assumed", "assumption", "assumptions"]


class Assumed(StrEnum):
    """The words of `Usage.assumed`.

    `image-size`: height and width of the images. `normalisation`: that images are normalised as in training before they
    reach the graph. `assembly`: in which order a container's function puts tensors together. `classes`: that an output
    layer has a bias, where one without it and of more classes has as many numbers.
    """

    IMAGE_SIZE = "image-size"
    NORMALISATION = NORMALISATION
    ASSEMBLY = "assembly"
    CLASSES = "classes"


def assumptions(usage: Usage, image: ImageInput | None) -> tuple[str, ...]:
    """A line for each word, and how to say it; a word that is not known here stands for itself.

    Of a float32 input that takes images, of which nobody said how they are normalised, that is assumed too.
    """
    unsaid = image is not None and image.tensor.dtype == "float32" and usage.normalisation is None
    words = dict.fromkeys((*usage.assumed, *([NORMALISATION] if unsaid else [])))
    return tuple("; ".join(filter(None, (assumption(word, image), _remedy(word, image)))) for word in words)


def assumption(word: str, image: ImageInput | None) -> str:
    """What was assumed, without how to say it."""
    if word == Assumed.IMAGE_SIZE and image is not None:
        return f"images of {image.height}x{image.width}, since no tensor shows their height and width"
    known = {
        Assumed.NORMALISATION: "images that are normalised as in training before they reach the graph",
        Assumed.ASSEMBLY: "tensors that are put together in the order of hypnettorch's own containers",
        Assumed.CLASSES: "an output layer with bias, since one without it and of more classes has as many numbers",
    }
    return next((line for one, line in known.items() if one == word), word)


def _remedy(word: str, image: ImageInput | None) -> str:
    if word == Assumed.IMAGE_SIZE and image is not None:
        size = spelled("image_height=… and image_width=…", f"--image {image.channels},HEIGHT,WIDTH")
        return f"{size} says others"
    reference = spelled("reference=FILE", "--reference FILE")
    known = {
        Assumed.NORMALISATION: f"{spelled('Usage(normalisation=Normalisation(…))', '--mean … --std …')} says how",
        Assumed.ASSEMBLY: f"a build with {reference} compares that with the trained model",
        Assumed.CLASSES: f"{spelled('classes=…', '--classes …')} says it",
    }
    return next((line for one, line in known.items() if one == word), "")
