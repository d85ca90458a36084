"""What an import had to assume, since no tensor says it and nobody else did. Standard library only."""

from collections.abc import Collection
from enum import StrEnum

from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spelling import spelled

__all__ = ["Assumed", "assumptions"]


class Assumed(StrEnum):
    """What was assumed.

    `image-size`: height and width of the images. `normalisation`: that images are normalised as in training before they
    reach the network.
    """

    IMAGE_SIZE = "image-size"
    NORMALISATION = "normalisation"


def assumptions(spec: PipelineSpec, assumed: Collection[Assumed]) -> tuple[str, ...]:
    """A line for each, and how to say it."""
    image = spec.network.image
    size, pixels = (
        spelled("image_height=… and image_width=…", f"--image {image.channels},HEIGHT,WIDTH"),
        spelled("with_input(preprocess=…)", "--preprocess uint8 --mean … --std …"),
    )
    lines = {
        Assumed.IMAGE_SIZE: f"images of {image.height}x{image.width}, since no tensor shows their height and width; "
        f"{size} says others",
        Assumed.NORMALISATION: "images that are normalised as in training before they reach the graph; "
        f"{pixels} makes that a part of it",
    }
    return tuple(line for one, line in lines.items() if one in assumed)
