"""Images that find faults."""

import numpy as np
import pytest

from hnexport.networks.wide_resnet.spec import ImageLayout, ImageSpec, PreprocessSpec
from hnexport.parity.inputs import PROBE_KINDS, probe_images


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 13), (4, 8, 64)], ids=str)
def test_there_is_one_image_of_each_kind_in_any_shape(shape, make_spec, make_network):
    channels, height, width = shape
    network = make_network(image=ImageSpec(channels=channels, height=height, width=width))
    images = probe_images(make_spec(network=network))
    assert images.shape == (len(PROBE_KINDS), *shape)
    assert images.dtype == np.float32
    assert np.isfinite(images).all()
    scale = dict(zip(PROBE_KINDS, np.abs(images).max(axis=(1, 2, 3)), strict=True))
    assert scale["faint"] < 0.01 < 0.1 < scale["constant"] < 10 < scale["glaring"]


def test_the_photograph_is_smooth_as_photographs_are(make_spec, make_network):
    images = probe_images(make_spec(network=make_network(image=ImageSpec())))
    roughness = {}
    for kind, image in zip(PROBE_KINDS, images, strict=True):
        roughness[kind] = np.abs(np.diff(image, axis=-1)).mean() / (image.std() + 1e-9)
    assert roughness["photograph"] < 0.5 * roughness["noise"]


def test_the_same_seed_gives_the_same_images_and_another_seed_others(make_spec):
    spec = make_spec()
    assert np.array_equal(probe_images(spec, 3), probe_images(spec, 3))
    differs = [not np.array_equal(*pair) for pair in zip(probe_images(spec, 3), probe_images(spec, 4), strict=True)]
    assert all(differs)


def test_a_graph_that_takes_bytes_gets_bytes_over_their_whole_range(make_spec):
    normalise = PreprocessSpec(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    images = probe_images(make_spec(image_layout=ImageLayout.NHWC, preprocess=normalise))
    assert images.dtype == np.uint8
    assert images.shape == (len(PROBE_KINDS), 8, 8, 3)
    assert images.min() == 0
    assert images.max() == 255


def test_the_layout_changes_the_axes_and_nothing_else(make_spec):
    channels_first = probe_images(make_spec())
    channels_last = probe_images(make_spec(image_layout=ImageLayout.NHWC))
    flat = probe_images(make_spec(image_layout=ImageLayout.FLAT_HWC))
    assert np.array_equal(channels_first.transpose(0, 2, 3, 1), channels_last)
    assert np.array_equal(channels_last.reshape(len(flat), -1), flat)
