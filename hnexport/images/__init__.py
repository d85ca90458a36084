"""Image files as the batch that a graph takes.

A picture (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, PPM) becomes pixels 0 to 255, in the graph's size, layout and dtype. A
graph that takes `uint8` gets the pixels. A graph that takes `float32` gets `(pixel / 255 - mean) / std`: mean and std
belong to the training, so they are those of the call, or else those that the ensemble says (`Usage.normalisation`);
where neither says them, a picture is refused. What a picture does not say is not guessed: what lies behind its
transparent pixels, which of its frames is meant, how more than 8 bits a channel become pixels. A `.npy` file holds what
the graph takes already, one image or a batch, and is not changed.
"""

from hnexport.images.batch import ImageBatch, Normalisation, read_images
from hnexport.images.inputs import image_input
from hnexport.images.labels import distinct, read_labels
from hnexport.images.normalising import AppliedNormalisation, NormalisedBy, from_pixels

__all__ = [
    "AppliedNormalisation",
    "ImageBatch",
    "Normalisation",
    "NormalisedBy",
    "distinct",
    "from_pixels",
    "image_input",
    "read_images",
    "read_labels",
]
