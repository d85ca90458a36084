"""Which input of a bundle takes images."""

from hnexport import families
from hnexport.bundle.manifest import Manifest
from hnexport.spec.images import ImageInput

__all__ = ["image_input"]


def image_input(manifest: Manifest) -> ImageInput | None:
    """The bundle's only input, if it takes images: as its family says, otherwise as its axes look.

    None where there are several inputs, or the only one does not look like images.
    """
    return families.image_input(manifest)
