import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypnettorch_ensembles import CASES, TUTORIAL, Case, Ensemble, build, flat_hwc, relative_error
from thorough import only
from torch import Tensor

from hnexport.export import capture, write_onnx, write_torchscript
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, HypnettorchOverrides, load_hypnettorch
from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, ImageLayout, Recipe
from hnexport.spec import Chunking, Source

TOLERANCE = 1e-5
"""Relative L2 error of float32 logits against hypnettorch's own in float64."""

Runner = Callable[[Checkpoint, Tensor], list[Tensor]]


def run_pipeline(checkpoint: Checkpoint, images: Tensor) -> list[Tensor]:
    """float32 logits of every member; `images`: float32 `[batch, channel, height, width]`."""
    pipeline = Pipeline(checkpoint.spec, checkpoint.tensors)
    with torch.no_grad():
        return [pipeline(torch.tensor(member), images) for member in range(checkpoint.spec.members)]


def run_pipeline_in_float64(checkpoint: Checkpoint, images: Tensor) -> list[Tensor]:
    pipeline = Pipeline(checkpoint.spec, {name: tensor.double() for name, tensor in checkpoint.tensors.items()})
    with torch.no_grad():
        return [pipeline(torch.tensor(member), images.double()) for member in range(checkpoint.spec.members)]


_exported: dict[int, tempfile.TemporaryDirectory[str]] = {}


def export(checkpoint: Checkpoint) -> Path:
    """A folder with the checkpoint's ONNX and TorchScript files, written once."""
    if id(checkpoint) not in _exported:
        folder = _exported[id(checkpoint)] = tempfile.TemporaryDirectory()
        captured = capture(checkpoint.ensemble())
        write_onnx(captured, Path(folder.name), {})
        write_torchscript(captured, Path(folder.name) / "model.pt")
    return Path(_exported[id(checkpoint)].name)


def run_onnx(checkpoint: Checkpoint, images: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(export(checkpoint) / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = [{"cond_id": np.array(member), "image": images.numpy()} for member in range(checkpoint.spec.members)]
    return [torch.from_numpy(session.run(["logits"], feed)[0]) for feed in feeds]


def run_torchscript(checkpoint: Checkpoint, images: Tensor) -> list[Tensor]:
    module = torch.jit.load(str(export(checkpoint) / "model.pt"))
    with torch.no_grad():
        return [module(torch.tensor(member), images) for member in range(checkpoint.spec.members)]


RUNNERS: dict[str, tuple[Runner, float]] = {
    "float32": (run_pipeline, TOLERANCE),
    "float64": (run_pipeline_in_float64, 1e-13),
    "onnx": (run_onnx, TOLERANCE),
    "torchscript": (run_torchscript, TOLERANCE),
}


@functools.cache
def ensemble_and_logits(case: Case) -> tuple[Ensemble, Checkpoint, Tensor, list[Tensor]]:
    """The float64 ensemble, what was imported from it in float32, images, and hypnettorch's float64 logits."""
    ensemble = build(case)
    checkpoint = ensemble.checkpoint()
    images = ensemble.images(2)
    flat = flat_hwc(images).double()
    ensemble.double()
    return ensemble, checkpoint, images, [ensemble.predict(member, flat) for member in range(case.members)]


def exported_kind(case: Case) -> Case:
    """What of a case says which nodes its files hold; the others say how large they are, or how it was saved."""
    return dataclasses.replace(
        case,
        members=3,
        k=2,
        num_feature_maps=(16, 16, 32, 64),
        num_classes=10,
        in_shape=(32, 32, 3),
        no_weights=False,
        chunk_emb_sizes=5,
        container=True,
        statistics=min(case.statistics, 2),
        overrides=HypnettorchOverrides(activation=case.overrides.activation),
    )


EXPORTED = {exported_kind(case): name for name, case in reversed(CASES.items())}.values()
FILES = [(name, runner) for name in EXPORTED for runner in ("onnx", "torchscript")]


@pytest.mark.parametrize(
    ("name", "runner"),
    [
        *((name, runner) for name in CASES for runner in ("float32", "float64")),
        *only(FILES, *(pair for pair in FILES if pair[0] in ("hypernetwork container", "batch ensemble with biases"))),
    ],
)
def test_every_member_predicts_what_hypnettorch_predicts(name: str, runner: str) -> None:
    _, checkpoint, images, expected = ensemble_and_logits(CASES[name])
    run, tolerance = RUNNERS[runner]
    found = run(checkpoint, images)
    errors = [relative_error(*pair) for pair in zip(found, expected, strict=True)]
    assert max(errors) <= tolerance


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.members > 1])
def test_members_differ_far_more_than_the_tolerance(name: str) -> None:
    """Otherwise the comparison above could not tell members apart."""
    *_, expected = ensemble_and_logits(CASES[name])
    assert min(relative_error(logits, expected[0]) for logits in expected[1:]) > 100 * TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_every_weight_equals_hypnettorchs_to_rounding(name: str) -> None:
    """In float64, where rounding is far below any difference that a wrong place or order would make."""
    ensemble, checkpoint, _, _ = ensemble_and_logits(CASES[name])
    pipeline = Pipeline(checkpoint.spec, {name: tensor.double() for name, tensor in checkpoint.tensors.items()})
    for member in range(min(ensemble.case.members, 5)):
        with torch.no_grad():
            found = pipeline.weights(member)
            expected = [weight.detach() for weight in ensemble.weights(member)]
        for slot, weight in zip(hypnettorch_order(checkpoint), expected, strict=True):
            torch.testing.assert_close(found[slot], weight, rtol=0, atol=1e-14 * float(weight.abs().max()))


def hypnettorch_order(checkpoint: Checkpoint) -> list[str]:
    """Slot names in the order of `WRN.param_shapes`, written down independently of hnexport's own table."""
    slots = [slot.name for slot in network_slots(checkpoint.spec.network) if slot.trained]
    norms = [name for name in slots if ".norm" in name or name.startswith("norm.")]
    shortcuts = [name for name in slots if "shortcut" in name]
    return [*norms, *shortcuts, *(name for name in slots if name not in norms and name not in shortcuts)]


@pytest.mark.parametrize("name", ["hypernetwork container", "hidden layers with bias", "generated batch norm"])
def test_generated_weights_equal_hypnettorchs_float32_weights_to_float32_rounding(name: str) -> None:
    ensemble = build(CASES[name])
    checkpoint = ensemble.checkpoint()
    pipeline = Pipeline(checkpoint.spec, checkpoint.tensors)
    for member in range(ensemble.case.members):
        with torch.no_grad():
            found, expected = pipeline.weights(member), [weight.detach() for weight in ensemble.weights(member)]
        for slot, weight in zip(hypnettorch_order(checkpoint), expected, strict=True):
            # at most 10 products are summed: a few units in the last place of the largest
            torch.testing.assert_close(found[slot], weight, rtol=0, atol=8 * 2**-24 * float(weight.abs().max()))


@pytest.mark.reference
@pytest.mark.thorough
def test_the_tutorials_ensemble_is_imported_and_predicts_what_hypnettorch_predicts(tmp_path: Path) -> None:
    """WRN-28-10 with 10 members, its weights counted as hypnettorch counts them."""
    ensemble = build(TUTORIAL)
    torch.save(ensemble.state_dicts(), tmp_path / "ensemble.pt")
    checkpoint = load_hypnettorch(tmp_path / "ensemble.pt")
    counts = weight_summary(checkpoint.spec)
    assert checkpoint.spec.name == "wrn-28-10-hypernet-10"
    assert (counts["main network: weights"], counts["container: weights"]) == (36_479_194, 37_544_732)
    images = ensemble.images(1)
    ensemble.double()
    expected = [ensemble.predict(member, flat_hwc(images).double()) for member in range(10)]
    for name, run in (("PyTorch", run_pipeline), ("ONNX", run_onnx), ("TorchScript", run_torchscript)):
        for member, logits in enumerate(run(checkpoint, images)):
            assert relative_error(logits, expected[member]) <= TOLERANCE, f"{name}, member {member}"


EXPECTED_RECIPES = {
    "hypernetwork container": RECIPES["hypernet"],
    "batch ensemble": RECIPES["batch-ensemble"],
    "everything for each member": Recipe(convolution=Source.MEMBER, norm=Source.MEMBER, output=Source.MEMBER),
    "generated batch norm and output layer": Recipe(
        convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED
    ),
    "generated output layer": Recipe(convolution=Source.GENERATED, norm=Source.SHARED, output=Source.GENERATED),
    "batch norm for each member": Recipe(convolution=Source.GENERATED, norm=Source.MEMBER, output=Source.MEMBER),
    "bare StructuredHMLP beside the main network's weights": Recipe(
        convolution=Source.GENERATED, norm=Source.SHARED, output=Source.SHARED
    ),
}


@pytest.mark.parametrize("name", EXPECTED_RECIPES)
def test_the_recipe_is_inferred(name: str) -> None:
    assert ensemble_and_logits(CASES[name])[1].spec.recipe == EXPECTED_RECIPES[name]


WITHOUT_WEIGHTS = {
    f"{name}, main network without weights": dataclasses.replace(case, no_weights=True)
    for name, case in CASES.items()
    # the first of these takes weights from the main network, the second shows its size nowhere else
    if name not in ("bare StructuredHMLP beside the main network's weights", "no batch norm")
    and not case.no_weights
    and case.members < 50
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in {**CASES, **WITHOUT_WEIGHTS}.items()])
def test_the_architecture_is_inferred(case: Case) -> None:
    spec = ensemble_and_logits(case)[1].spec
    network = spec.network
    assert network.widths == (case.num_feature_maps[0], *(maps * case.k for maps in case.num_feature_maps[1:]))
    assert (network.blocks_per_group, network.classes, spec.members) == (case.n, case.num_classes, case.members)
    assert (network.image.height, network.image.width, network.image.channels) == case.in_shape
    assert (network.conv_bias, network.output_bias) == (case.use_bias, case.use_fc_bias)
    assert network.batch_norm is case.use_batch_norm
    assert spec.member_statistics is (case.statistics > 1)
    if spec.hypernet is not None:
        assert (spec.hypernet.hidden_layers, spec.hypernet.bias) == (case.layers, case.hnet_bias)
        assert (spec.hypernet.chunking is Chunking.GCD) is case.gcd_chunking


def test_the_usual_feature_maps_give_the_usual_name() -> None:
    spec = build(Case(n=2, k=3)).checkpoint().spec
    assert (spec.network.name, spec.network.feature_maps) == ("wrn-16-3", (16, 16, 32, 64))


@pytest.mark.parametrize("layout", ImageLayout)
def test_every_image_layout_gives_the_same_predictions(layout: ImageLayout) -> None:
    ensemble, checkpoint, images, _ = ensemble_and_logits(CASES["one channel, 28x20"])
    by_layout = {
        ImageLayout.NCHW: images,
        ImageLayout.NHWC: images.permute(0, 2, 3, 1),
        ImageLayout.FLAT_HWC: flat_hwc(images),
    }
    found = run_pipeline(checkpoint.with_input(image_layout=layout), by_layout[layout])
    torch.testing.assert_close(found, run_pipeline(checkpoint, images), rtol=0, atol=1e-6)
    assert by_layout[layout].shape[1:] == checkpoint.with_input(image_layout=layout).spec.image_input[1]
    assert ensemble.case.in_shape == (28, 20, 1)
