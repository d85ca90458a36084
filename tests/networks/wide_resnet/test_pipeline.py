import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hnexport.errors import CheckpointError, RuntimeInputError
from hnexport.networks.wide_resnet.module import build_network
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import (
    RECIPES,
    ImageLayout,
    ImageSpec,
    PipelineSpec,
    PreprocessSpec,
    Recipe,
    WideResNetSpec,
)
from hnexport.spec import HypernetSpec, Source

MakeSpec = Callable[..., PipelineSpec]
MakePipeline = Callable[..., Pipeline]
MakeImages = Callable[..., Tensor]

NORMALISE = PreprocessSpec(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))
WHOLE_NUMBERS = PreprocessSpec(mean=(0, 1, 0), std=(1, 2, 1))
RECIPE_CASES: dict[str, dict[str, Any]] = {
    "hypernet": {},
    "batch-ensemble": {"recipe": RECIPES["batch-ensemble"]},
    "member statistics": {"recipe": RECIPES["batch-ensemble"], "member_statistics": True},
    "all generated": {
        "recipe": Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED),
        "hypernet": HypernetSpec(hidden_layers=(6,), bias=True),
    },
    "shared output": {"recipe": Recipe(convolution=Source.GENERATED, norm=Source.SHARED, output=Source.SHARED)},
    "shared output without bias": {
        "recipe": Recipe(convolution=Source.SHARED, norm=Source.MEMBER, output=Source.SHARED),
        "network": WideResNetSpec(
            blocks_per_group=1, widening=1, image=ImageSpec(height=8, width=8), output_bias=False
        ),
    },
    "no batch norm": {
        "network": WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(height=8, width=8), batch_norm=False)
    },
}


@pytest.fixture(params=list(RECIPE_CASES.values()), ids=list(RECIPE_CASES))
def spec(request: pytest.FixtureRequest, make_spec: MakeSpec) -> Any:
    return make_spec(**request.param)


def test_logits_are_those_of_the_plain_network_with_the_members_weights(
    spec: PipelineSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> None:
    pipeline, images = make_pipeline(spec, dtype=torch.float64), make_images(spec, dtype=torch.float64)
    plain = build_network(spec.network).double()
    for member in range(spec.members):
        keys = plain.load_state_dict(pipeline.weights(member), strict=False)
        assert not keys.unexpected_keys
        assert all(key.endswith("num_batches_tracked") for key in keys.missing_keys)
        with torch.no_grad():
            expected = plain(images)
        torch.testing.assert_close(pipeline(torch.tensor(member), images), expected, rtol=1e-12, atol=1e-12)
        assert expected.shape == (2, spec.network.classes)


def test_members_give_different_logits(
    spec: PipelineSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> None:
    logits = make_pipeline(spec).ensemble(range(3), make_images(spec))
    assert logits.isfinite().all()
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert float((logits[first] - logits[second]).abs().max()) > 1e-3


@pytest.mark.parametrize("cond_id", [-1, 3, 2**40, -(2**63)])
def test_a_member_that_does_not_exist_gives_only_nan_logits(
    cond_id: int, spec: PipelineSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> None:
    logits = make_pipeline(spec)(torch.tensor(cond_id), make_images(spec))
    assert logits.shape == (2, spec.network.classes)
    assert logits.isnan().all()


def test_the_ensemble_equals_single_calls_bit_for_bit_in_the_order_asked(
    spec: PipelineSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> None:
    pipeline, images = make_pipeline(spec), make_images(spec, batch=3)
    together = pipeline.ensemble([2, 0, 2], images)
    assert together.shape == (3, 3, spec.network.classes)
    for logits, member in zip(together, (2, 0, 2), strict=True):
        assert torch.equal(logits, pipeline(torch.tensor(member), images))


def test_the_logits_of_an_image_do_not_depend_on_the_other_images(
    spec: PipelineSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> None:
    pipeline, images = make_pipeline(spec, dtype=torch.float64), make_images(spec, batch=4, dtype=torch.float64)
    batch = pipeline(torch.tensor(1), images)
    for row in range(4):
        alone = pipeline(torch.tensor(1), images[row : row + 1])
        torch.testing.assert_close(alone[0], batch[row], rtol=1e-12, atol=1e-12)
    scaled = pipeline(torch.tensor(1), torch.cat([images[:1], 100.0 * images[1:]]))
    assert torch.equal(scaled[0], batch[0])


def test_an_image_with_a_nan_spoils_only_its_own_logits(
    spec: PipelineSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> None:
    pipeline, images = make_pipeline(spec), make_images(spec, batch=3)
    clean = pipeline(torch.tensor(0), images)
    images[1, 0, 4, 4] = torch.nan
    spoilt = pipeline(torch.tensor(0), images)
    assert spoilt[1].isnan().all()
    assert torch.equal(spoilt[[0, 2]], clean[[0, 2]])


def test_an_empty_batch_gives_no_logits(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    spec = make_spec()
    assert make_pipeline(spec)(torch.tensor(0), torch.zeros(0, 3, 8, 8)).shape == (0, 5)


def test_image_layouts_agree(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(channels=3, height=6, width=10))
    images = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(0))
    last = images.permute(0, 2, 3, 1).contiguous()
    given = {ImageLayout.NCHW: images, ImageLayout.NHWC: last, ImageLayout.FLAT_HWC: last.flatten(1)}
    logits = [
        make_pipeline(make_spec(network=network, image_layout=layout))(torch.tensor(1), given[layout])
        for layout in ImageLayout
    ]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits[2], logits[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("preprocess", [NORMALISE, WHOLE_NUMBERS], ids=["fractions", "whole numbers"])
def test_preprocessing_bytes_equals_normalising_by_hand(
    preprocess: PreprocessSpec,
    dtype: torch.dtype,
    make_spec: MakeSpec,
    make_pipeline: MakePipeline,
    make_images: MakeImages,
) -> None:
    spec = make_spec(image_layout=ImageLayout.NHWC, preprocess=preprocess)
    pixels = make_images(spec, batch=3)
    mean, std = (np.float32(values).astype(np.float64) for values in (preprocess.mean, preprocess.std))
    by_hand = torch.from_numpy((pixels.numpy() / 255.0 - mean) / std).to(dtype)
    plain = dataclasses.replace(spec, preprocess=None)
    tolerance = 1e-12 if dtype is torch.float64 else 1e-5
    torch.testing.assert_close(
        make_pipeline(spec).to(dtype)(torch.tensor(2), pixels),
        make_pipeline(plain).to(dtype)(torch.tensor(2), by_hand),
        rtol=tolerance,
        atol=tolerance,
    )


def test_dropout_is_inactive_until_training_mode(
    make_spec: MakeSpec, make_network: Callable[..., WideResNetSpec], make_pipeline: MakePipeline
) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    without = make_pipeline(make_spec())(torch.tensor(0), images)
    pipeline = make_pipeline(make_spec(network=make_network(dropout=0.5)))
    assert torch.equal(pipeline(torch.tensor(0), images), without)


def test_a_pipeline_stores_only_the_tensors_of_the_table(
    spec: PipelineSpec, make_pipeline: MakePipeline, make_tensors: Callable[..., dict[str, Tensor]]
) -> None:
    tensors = make_tensors(spec)
    pipeline = make_pipeline(spec)
    assert {name.removeprefix("generator.") for name in pipeline.state_dict()} == set(tensors)
    assert all(torch.equal(pipeline.tensors()[name], tensors[name]) for name in tensors)
    again = Pipeline(spec, pipeline.tensors())
    images = torch.ones(1, *spec.network.image.shape)
    assert torch.equal(again(torch.tensor(1), images), pipeline(torch.tensor(1), images))


def test_members_are_looked_up_on_the_device_of_the_weights(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(make_spec()).to("meta")
    ids: list[Tensor] = []
    pipeline.generator.register_forward_pre_hook(lambda _module, arguments: ids.append(arguments[0]))
    pipeline.weights(0)
    pipeline.ensemble([1], torch.zeros(1, 3, 8, 8, device="meta"))
    assert [(cond_id.device.type, cond_id.dtype, cond_id.shape) for cond_id in ids] == [("meta", torch.int64, ())] * 2


@pytest.mark.parametrize("member", [-1, 3, 2**40])
def test_asking_by_number_for_a_member_that_does_not_exist_is_an_error(
    member: int, make_spec: MakeSpec, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(make_spec())
    message = rf"^member {member} does not exist: this ensemble has members 0 to 2$"
    with pytest.raises(RuntimeInputError, match=message):
        pipeline.weights(member)
    with pytest.raises(RuntimeInputError, match=message):
        pipeline.ensemble([0, member], torch.zeros(1, 3, 8, 8))


def test_an_ensemble_of_no_members_is_an_error(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    with pytest.raises(RuntimeInputError, match="cond_ids is empty: name at least one member"):
        make_pipeline(make_spec()).ensemble([], torch.zeros(1, 3, 8, 8))


BAD_IMAGES: dict[str, tuple[dict[str, Any], Tensor, str]] = {
    "channels last": ({}, torch.zeros(1, 8, 8, 3), r"shape \['batch', 3, 8, 8\] \(nchw\), found \[1, 8, 8, 3\]"),
    "no batch axis": ({}, torch.zeros(3, 8, 8), r"expected images of shape .*, found \[3, 8, 8\]"),
    "two images in one row": (
        {"image_layout": ImageLayout.FLAT_HWC},
        torch.zeros(1, 2 * 192),
        r"shape \['batch', 192\] \(flat-hwc\), found \[1, 384\]",
    ),
    "bytes without preprocessing": (
        {},
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        r"expected float32 images, found torch\.uint8",
    ),
    "floats to be normalised twice": (
        {"image_layout": ImageLayout.NHWC, "preprocess": NORMALISE},
        torch.zeros(1, 8, 8, 3),
        r"expected uint8 images, found torch\.float32",
    ),
}


@pytest.mark.parametrize(("changes", "images", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_an_image_that_does_not_fit_is_refused(
    changes: dict[str, Any], images: Tensor, message: str, make_spec: MakeSpec, make_pipeline: MakePipeline
) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        make_pipeline(make_spec(**changes))(torch.tensor(0), images)


def test_tensors_of_another_specification_are_refused(make_spec: MakeSpec, make_pipeline: MakePipeline) -> None:
    tensors = make_pipeline(make_spec()).tensors()
    with pytest.raises(
        CheckpointError, match=r"^tensor .* is missing for wrn-10-2-batch-ensemble-3 \(and \d+ more differ\)$"
    ):
        Pipeline(make_spec(recipe=RECIPES["batch-ensemble"]), tensors)


def test_a_seed_makes_a_pipeline(make_spec: MakeSpec) -> None:
    spec, images = make_spec(), torch.ones(1, 3, 8, 8)
    first, again, other = (Pipeline.from_seed(spec, seed)(torch.tensor(0), images) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
