"""Samples that find faults, for any signature."""

from typing import Any

import numpy as np
import pytest
import torch
from eager import encoder
from fixture_types import MakeNetwork, MakeSpec
from numpy.typing import NDArray

from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.spec import ImageLayout, ImageSpec, PipelineSpec, PreprocessSpec
from hnexport.parity.inputs import LARGEST, PROBE_KINDS, probe_inputs
from hnexport.spec import OutputSpec, Signature, TensorSpec

KINDS = (*PROBE_KINDS, "extreme")


def images_of(spec: PipelineSpec, seed: int = 0) -> tuple[NDArray[np.generic], tuple[str, ...]]:
    signature = wide_resnet_ensemble(spec, initialise(spec, 0), "a test").signature
    row: tuple[Any, ...] = signature.inputs[0].row
    example = np.zeros((2, *row), dtype=signature.inputs[0].dtype)
    probes = probe_inputs(signature, {"image": example}, seed)
    return probes.inputs["image"], probes.kinds


def of_one(
    dtype: str,
    row: tuple[int, ...],
    example: NDArray[np.int64] | np.ndarray[Any, Any] | np.ndarray[tuple[Any, ...], Any],
) -> dict[Any, Any]:
    output = OutputSpec(name="y", dtype="float32", shape=("batch", 1))
    signature = Signature(inputs=(TensorSpec(name="x", dtype=dtype, shape=("batch", *row)),), outputs=(output,))
    probes = probe_inputs(signature, {"x": example})
    return dict(zip(probes.kinds, probes.inputs["x"], strict=True))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 13), (4, 8, 64)], ids=str)
def test_there_is_one_image_of_each_kind_in_any_shape(
    shape: tuple[int, int, int], make_spec: MakeSpec, make_network: MakeNetwork
) -> None:
    channels, height, width = shape
    network = make_network(image=ImageSpec(channels=channels, height=height, width=width))
    images, kinds = images_of(make_spec(network=network))
    assert kinds == KINDS
    assert images.shape == (len(KINDS), *shape)
    assert images.dtype == np.float32
    scale = dict(zip(KINDS, np.abs(images).max(axis=(1, 2, 3)), strict=True))
    assert scale["faint"] < 0.01 < 0.1 < scale["constant"] < 10 < scale["glaring"] < scale["extreme"]
    assert scale["extreme"] == LARGEST


def test_the_photograph_is_smooth_as_photographs_are(make_spec: MakeSpec, make_network: MakeNetwork) -> None:
    images, kinds = images_of(make_spec(network=make_network(image=ImageSpec())))
    roughness = {}
    for kind, image in zip(kinds, images, strict=True):
        roughness[kind] = np.abs(np.diff(image, axis=-1)).mean() / (image.std() + 1e-9)
    assert roughness["photograph"] < 0.5 * roughness["noise"]


def test_the_same_seed_gives_the_same_images_and_another_seed_others(make_spec: MakeSpec) -> None:
    spec = make_spec()
    first, again, other = (images_of(spec, seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert all(not np.array_equal(*pair) for pair in zip(first, other, strict=True))


def test_a_graph_that_takes_bytes_gets_bytes_over_their_whole_range(make_spec: MakeSpec) -> None:
    normalise = PreprocessSpec(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    images, kinds = images_of(make_spec(image_layout=ImageLayout.NHWC, preprocess=normalise))
    assert images.dtype == np.uint8
    assert images.shape == (len(PROBE_KINDS), 8, 8, 3)
    assert kinds == PROBE_KINDS
    assert (images.min(), images.max()) == (0, 255)


def test_the_layout_changes_the_axes_and_nothing_else(make_spec: MakeSpec) -> None:
    channels_first, _ = images_of(make_spec())
    channels_last, _ = images_of(make_spec(image_layout=ImageLayout.NHWC))
    flat, _ = images_of(make_spec(image_layout=ImageLayout.FLAT_HWC))
    assert np.array_equal(channels_first.transpose(0, 2, 3, 1), channels_last)
    assert np.array_equal(channels_last.reshape(len(flat), -1), flat)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_stay_in_the_examples_range_and_reach_its_ends(dtype: str) -> None:
    found = of_one(dtype, (40,), np.arange(80).reshape(2, 40) % 30 + 5)
    values = np.stack(list(found.values()))
    assert (values.min(), values.max()) == (5, 34)
    assert found["example"].tolist() == [number % 30 + 5 for number in range(40)]
    assert "extreme" not in found


def test_booleans_are_what_the_example_has() -> None:
    assert all(row.all() for row in of_one("bool", (9,), np.ones((2, 9), dtype=bool)).values())
    mixed = of_one("bool", (9,), np.arange(18).reshape(2, 9) % 2 == 0)
    assert 0 < mixed["noise"].sum() < 9


@pytest.mark.parametrize("row", [(), (5,), (7, 4), (2, 3, 4, 5)])
def test_numbers_of_any_shape_have_every_kind(row: tuple[int, ...]) -> None:
    found = of_one("float32", row, np.arange(2 * np.prod(row, dtype=int), dtype=float).reshape(2, *row))
    assert set(KINDS) <= set(found)
    assert all(value.shape == row and np.isfinite(value).all() for value in found.values())


def test_inputs_of_one_sample_differ_and_those_without_a_batch_axis_are_the_examples() -> None:
    ensemble = encoder()
    examples = {name: one.numpy() for name, one in ensemble.examples.items()}
    scale = TensorSpec(name="scale", dtype="float32", shape=(3,))
    signature = Signature(inputs=(*ensemble.signature.inputs, scale), outputs=ensemble.signature.outputs)
    probes = probe_inputs(signature, {**examples, "scale": torch.arange(3.0).numpy()})
    assert probes.inputs["scale"].tolist() == [0, 1, 2]
    assert len(probes.inputs["tokens"]) == len(probes.inputs["weighting"]) == len(probes.kinds)
