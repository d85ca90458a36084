"""A Wide ResNet as an ensemble: the two halves together are the pipeline, and all data follow from its JSON."""

import json

import pytest
import torch
from fixture_types import MakeImages, MakeSpec, MakeTensors

from hnexport.errors import RuntimeInputError
from hnexport.families import WIDE_RESNET, family
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, random_checkpoint
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.module import WideResNet
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import RECIPES, ImageLayout, PreprocessSpec
from hnexport.spec import BasisDtype, HypernetSpec

PIXELS = PreprocessSpec(mean=(0.5, 0.45, 0.4), std=(0.2, 0.25, 0.3))
CASES = {
    "hypernet": {},
    "float16 bases": {"hypernet": HypernetSpec(basis_dtype=BasisDtype.FLOAT16)},
    "batch ensemble": {"recipe": RECIPES["batch-ensemble"], "member_statistics": True},
    "flat images": {"image_layout": ImageLayout.FLAT_HWC},
    "pixels": {"image_layout": ImageLayout.NHWC, "preprocess": PIXELS},
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def checkpoint(request: pytest.FixtureRequest, make_spec: MakeSpec, make_tensors: MakeTensors) -> Checkpoint:
    spec = make_spec(**request.param)
    return Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")


def test_the_halves_together_are_the_pipeline(checkpoint: Checkpoint, make_images: MakeImages) -> None:
    ensemble, pipeline = checkpoint.ensemble(), Pipeline(checkpoint.spec, checkpoint.tensors)
    images = make_images(checkpoint.spec)
    for member in range(3):
        expected = pipeline(torch.tensor(member), images)
        assert torch.equal(ensemble(member, {"image": images})["logits"], expected)
        assert torch.equal(ensemble.run(ensemble.weights(member), {"image": images})["logits"], expected)
    for unknown in (-1, 3):
        assert ensemble(unknown, {"image": images})["logits"].isnan().all()


def test_in_float64_every_number_is_float64(checkpoint: Checkpoint, make_images: MakeImages) -> None:
    """Also mean and standard deviation of a graph that normalises: float32 there would cost 1e-8."""
    ensemble = checkpoint.ensemble().double()
    stored = {name: tensor.double() for name, tensor in checkpoint.tensors.items()}
    pipeline = Pipeline(checkpoint.spec, stored).double()
    images, network = make_images(checkpoint.spec, dtype=torch.float64), WideResNet(checkpoint.spec.network).eval()
    for member in range(3):
        logits = ensemble(member, {"image": images})["logits"]
        assert logits.dtype is torch.float64
        assert torch.equal(logits, pipeline(torch.tensor(member), images))
        if checkpoint.spec.preprocess is not None:
            mean, std = (torch.tensor(values, dtype=torch.float32).double() for values in (PIXELS.mean, PIXELS.std))
            normalised = ((images.double() / 255.0 - mean) / std).permute(0, 3, 1, 2)
            plain = torch.func.functional_call(network, ensemble.weights(member), (normalised,))
            torch.testing.assert_close(logits, plain, rtol=1e-12, atol=1e-12)


def test_its_tensors_are_the_checkpoints_own_and_no_copies(checkpoint: Checkpoint) -> None:
    ensemble = checkpoint.ensemble()
    assert list(ensemble.tensors) == [stored.name for stored in ensemble.stored]
    for name, tensor in checkpoint.tensors.items():
        assert ensemble.tensors[name].data_ptr() == tensor.data_ptr()
    assert all(parameter.is_meta for parameter in ensemble.network.parameters())
    assert set(ensemble.weights(0)) == {slot.name for slot in ensemble.slots}


def test_all_data_and_both_halves_follow_from_the_json_of_the_specification(
    checkpoint: Checkpoint, make_images: MakeImages
) -> None:
    ensemble = checkpoint.ensemble()
    assert ensemble.source.family == WIDE_RESNET
    spec = json.loads(json.dumps(dict(ensemble.source.spec)))
    wide_resnet = family(WIDE_RESNET)
    wide_resnet.check(spec, 10**6)
    described = wide_resnet.described(spec)
    for name in ("name", "members", "signature", "slots", "stored"):
        assert getattr(described, name) == getattr(ensemble, name), name
    again = wide_resnet.ensemble(described, spec, checkpoint.tensors, "again")
    images = make_images(checkpoint.spec)
    assert torch.equal(again(1, {"image": images})["logits"], ensemble(1, {"image": images})["logits"])  # type: ignore[misc] # mypy cannot infer it
    generated = wide_resnet.generator(described, spec, checkpoint.tensors)(torch.tensor(2))
    assert all(torch.equal(generated[name], tensor) for name, tensor in ensemble.weights(2).items())
    assert wide_resnet.plan(spec) == plan_chunks(checkpoint.spec)


def test_an_image_of_another_shape_is_refused_by_the_ensemble_too(make_spec: MakeSpec) -> None:
    ensemble = random_checkpoint(make_spec()).ensemble()
    with pytest.raises(RuntimeInputError, match="expected images of shape"):
        ensemble(0, {"image": torch.zeros(1, 3, 7, 8)})
