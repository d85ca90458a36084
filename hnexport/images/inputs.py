"""Which input of a bundle takes images."""

import dataclasses

from hnexport.bundle.manifest import Manifest
from hnexport.families import family
from hnexport.spec.images import ImageInput

__all__ = ["image_input"]


def image_input(manifest: Manifest) -> ImageInput | None:
    """The bundle's only input, if it takes images: as its family says, otherwise as its axes look.

    None where there are several inputs, or the only one does not look like images.
    """
    inputs = manifest.signature.inputs
    if len(inputs) != 1:
        return None
    said = getattr(family(manifest.source.family), "image", None)  # few families are about images
    image = said(manifest.source.spec) if said is not None else ImageInput.guess(inputs[0])
    return None if image is None else dataclasses.replace(image, normalisation=manifest.usage.normalisation)
