"""Images that find faults: several kinds, any size, from an explicit seed."""

from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hnexport.networks.wide_resnet.spec import ImageLayout, PipelineSpec

__all__ = ["PHOTOGRAPHS", "PROBE_KINDS", "probe_images"]

PHOTOGRAPHS = ("cat.png", "coffee.png")
PROBE_KINDS = ("noise", "photograph", "uniform", "faint", "constant", "glaring")


def probe_images(spec: PipelineSpec, seed: int = 0) -> NDArray[np.generic]:
    """One image of each of `PROBE_KINDS`, in the dtype and layout of the graph's image input.

    `noise` is standard normal, `photograph` is one, about standardised, `uniform` is in [0, 1), `faint` and `glaring`
    are noise of scale 1e-3 and 30, `constant` is one value a channel. A graph that takes uint8 pixels gets the same
    images with 0 at 128 and 1 at 192, cut to 0 … 255.

    Returns:
        `[image, …]`, float32 or uint8.
    """
    random = np.random.default_rng(seed)
    shape = spec.network.image.shape
    kinds = {
        "noise": random.standard_normal(shape),
        "photograph": _photograph(shape, seed),
        "uniform": random.random(shape),
        "faint": 1e-3 * random.standard_normal(shape),
        "constant": np.broadcast_to(random.standard_normal((shape[0], 1, 1)), shape),
        "glaring": 30.0 * random.standard_normal(shape),
    }
    images = np.stack([kinds[kind] for kind in PROBE_KINDS])
    if spec.image_layout is not ImageLayout.NCHW:
        images = images.transpose(0, 2, 3, 1)
    dtype, shape_in = spec.image_input
    if dtype == "uint8":
        images = np.clip(np.round(128.0 + 64.0 * images), 0, 255)
    return np.ascontiguousarray(images.reshape(len(PROBE_KINDS), *shape_in).astype(dtype))


def _photograph(shape: tuple[int, int, int], seed: int) -> NDArray[np.float64]:
    """A photograph (CC0, from scikit-image's samples) of the given shape, about standardised."""
    channels, height, width = shape
    name = PHOTOGRAPHS[seed % len(PHOTOGRAPHS)]
    with resources.as_file(resources.files(__package__) / "photographs" / name) as path, Image.open(path) as photograph:
        pixels = np.asarray(photograph.convert("L" if channels == 1 else "RGB").resize((width, height)), np.float64)
    planes = pixels.reshape(height, width, -1).transpose(2, 0, 1)
    return (planes[[channel % len(planes) for channel in range(channels)]] / 255.0 - 0.5) / 0.25
