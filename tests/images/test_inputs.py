"""Which input takes images."""

import dataclasses
from typing import Any

import pytest
from shared import Built

from hnexport.images import image_input
from hnexport.networks.wide_resnet import family
from hnexport.networks.wide_resnet.spec import ImageLayout, ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.spec import TensorSpec
from hnexport.spec.images import ImageInput

AXES = {
    "channels first": (("batch", 3, 6, 9), "float32", (ImageLayout.NCHW, 3, 6, 9)),
    "channels last": (("batch", 6, 9, 3), "uint8", (ImageLayout.NHWC, 3, 6, 9)),
    "grey": (("batch", 1, 28, 28), "float32", (ImageLayout.NCHW, 1, 28, 28)),
    "either": (("batch", 3, 5, 3), "float32", (ImageLayout.NCHW, 3, 5, 3)),
    "no channels": (("batch", 7, 6, 9), "float32", None),
    "three axes": (("batch", 3, 6), "float32", None),
    "any height": (("batch", 3, "height", 9), "float32", None),
    "tokens": (("batch", 1, 6, 9), "int64", None),
    "no batch": ((1, 3, 6, 9), "float32", None),
}


@pytest.mark.parametrize(("shape", "dtype", "expected"), AXES.values(), ids=AXES.keys())
def test_axes_say_whether_an_input_takes_images(
    shape: tuple[Any, ...], dtype: str, expected: tuple[ImageLayout, int, int, int] | None
) -> None:
    found = ImageInput.guess(TensorSpec(name="x", dtype=dtype, shape=shape))
    assert (found and (found.layout, found.channels, found.height, found.width)) == expected


@pytest.mark.parametrize("layout", ImageLayout)
def test_a_wide_resnet_says_how_its_image_lies(layout: ImageLayout) -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(channels=5, height=6, width=3))
    found = family.image_input(PipelineSpec(network=network, members=1, image_layout=layout))
    assert (found.layout, found.channels, found.height, found.width) == (layout, 5, 6, 3)


def test_a_network_of_several_inputs_takes_no_pictures(built: Built) -> None:
    manifest = built.manifest
    assert image_input(manifest).tensor == manifest.inputs[1]
    twice = dataclasses.replace(manifest.inputs[1], name="second")
    assert image_input(dataclasses.replace(manifest, inputs=(*manifest.inputs, twice))) is None
