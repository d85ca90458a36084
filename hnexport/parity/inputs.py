"""Images that find faults: several kinds, any size, from an explicit seed."""

import numpy as np
from numpy.typing import NDArray

from hnexport.spec import ImageLayout, PipelineSpec

__all__ = ["PROBE_KINDS", "probe_images"]

PROBE_KINDS = ("noise", "natural", "uniform", "faint", "constant", "glaring")


def probe_images(spec: PipelineSpec, seed: int = 0) -> NDArray[np.generic]:
    """One image of each of `PROBE_KINDS`, in the dtype and layout of the graph's image input.

    `noise` is standard normal, `uniform` is in [0, 1), `natural` has the 1/f amplitude spectrum of natural images
    (Field 1987), `faint` and `glaring` are noise of scale 1e-3 and 30, `constant` is one value a channel. A graph that
    takes uint8 pixels gets the same images with 0 at 128 and 1 at 192, cut to 0 … 255.

    Returns:
        `[image, …]`, float32 or uint8.
    """
    random = np.random.default_rng(seed)
    shape = spec.network.image.shape
    kinds = {
        "noise": random.standard_normal(shape),
        "natural": _natural(shape, random),
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


def _natural(shape: tuple[int, int, int], random: np.random.Generator) -> NDArray[np.float64]:
    """Noise with a 1/f amplitude spectrum, zero mean and unit variance, alike in all channels."""
    channels, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(random.standard_normal((height, width))) / frequency
    image = np.fft.irfft2(spectrum, s=(height, width))
    image = (image - image.mean()) / (image.std() + 1e-12)
    natural: NDArray[np.float64] = image[None] * (1.0 + 0.2 * random.standard_normal((channels, 1, 1)))
    return natural
