"""Image files as the batch that a graph takes.

A picture (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, PPM) becomes pixels 0 to 255, in the graph's size, layout and dtype. A
graph that takes `uint8` gets the pixels. A graph that takes `float32` gets `pixel / 255`, and
`(pixel / 255 - mean) / std` where mean and std are given: they belong to the training, so none are assumed. What a
picture does not say is not guessed: what lies behind its transparent pixels, which of its frames is meant, how more
than 8 bits a channel become pixels. A `.npy` file holds what the graph takes already, one image or a batch, and is not
changed.
"""

from hnexport.images.batch import ImageBatch, Normalisation, read_images
from hnexport.images.inputs import image_input
from hnexport.images.labels import read_labels

__all__ = ["ImageBatch", "Normalisation", "image_input", "read_images", "read_labels"]
