"""Ensembles are trained as PyTorch modules are: gradients, modes, and statistics of the member that was trained."""

import copy
import dataclasses
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypnettorch_ensembles import Case
from hypnettorch_ensembles import build as build_hypnettorch
from thorough import first
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble, ModuleRecipe, Rule
from hnexport.build import BuildOptions, build
from hnexport.errors import CaptureError, RuntimeInputError, SpecError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.module import WideResNet
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.spec import BasisDtype, HypernetSpec

SMALL: dict[str, Any] = {"in_shape": (8, 8, 3), "k": 1, "num_feature_maps": (4, 4, 8, 8)}
HYPNETTORCH: dict[str, Case] = {
    "hypernetwork, statistics of each member": Case(statistics=3, **SMALL),
    "hypernetwork, one set of statistics": Case(**SMALL),
    "hidden layers and generated batch norm": Case(
        statistics=3, norm="generated", layers=(6,), hnet_bias=True, **SMALL
    ),
    "batch ensemble, statistics of each member": Case(statistics=3, convolution="shared", norm="member", **SMALL),
    "bare StructuredHMLP beside the main network's weights": Case(
        statistics=3, output="shared", container=False, **SMALL
    ),
}


def spec_of(recipe: str = "hypernet", **changes: Any) -> PipelineSpec:
    network = WideResNetSpec.from_name("wrn-10-1", image=ImageSpec(height=8, width=8), classes=5)
    hypernet = HypernetSpec() if recipe == "hypernet" else None
    return PipelineSpec(
        **{"network": network, "members": 3, "recipe": RECIPES[recipe], "hypernet": hypernet, "member_statistics": True}
        | changes
    )


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, 8, 8, generator=random) + 0.5, torch.randint(5, (count,), generator=random)


def step(module: nn.Module, loss: Tensor) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05)
    loss.backward()
    optimiser.step()


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("case", first(2, HYPNETTORCH.values()), ids=HYPNETTORCH.keys())
def test_one_step_of_training_is_hypnettorchs(case: Case) -> None:
    theirs = build_hypnettorch(case)
    case = dataclasses.replace(case, overrides=dataclasses.replace(case.overrides, image_height=8, image_width=8))
    theirs = dataclasses.replace(theirs, case=case)
    before = theirs.checkpoint()
    pipeline = Pipeline(before.spec, copied(dict(before.tensors))).requires_grad_().train()
    images, labels = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(7) % 10
    flat = images.permute(0, 2, 3, 1).flatten(1)

    theirs.mnet.train()
    networks = nn.ModuleList([theirs.hnet, theirs.mnet])
    for member in (2, 0, 2):
        networks.zero_grad()
        pipeline.zero_grad()
        condition = member if case.statistics > 1 else None
        logits = theirs.mnet.forward(flat, weights=theirs.weights(member), condition=condition)
        ours = pipeline(member, images)
        torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-5)
        step(networks, F.cross_entropy(logits, labels))
        step(pipeline, F.cross_entropy(ours, labels))

    after, tensors = theirs.checkpoint(), pipeline.tensors()
    moved = 0
    for name, expected in after.tensors.items():
        difference = float((tensors[name] - expected).norm() / expected.norm())
        assert difference < 3e-6, name
        moved += not torch.equal(expected, before.tensors[name])
    assert moved == len(after.tensors)  # the comparison would see what is not trained


@pytest.mark.parametrize("recipe", first(1, RECIPES))
def test_training_mode_normalises_over_the_batch_and_keeps_the_members_statistics_alone(recipe: str) -> None:
    pipeline, (images, _) = Pipeline.from_seed(spec_of(recipe)), batch()
    plain = WideResNet(pipeline.spec.network)
    plain.load_state_dict(pipeline.weights(1), strict=False)
    before = copied(pipeline.tensors())
    with torch.no_grad():
        torch.testing.assert_close(pipeline.train()(1, images), plain.train()(images), rtol=1e-5, atol=1e-5)
    trained = plain.state_dict()
    for name, tensor in pipeline.tensors().items():
        slot = name.removeprefix("member.")
        if "running_" not in slot:
            assert torch.equal(tensor, before[name])
            continue
        torch.testing.assert_close(tensor[1], trained[slot], rtol=1e-5, atol=1e-6)
        assert not torch.equal(tensor[1], before[name][1])
        assert torch.equal(tensor[[0, 2]], before[name][[0, 2]])


def test_evaluation_mode_changes_nothing() -> None:
    pipeline, (images, _) = Pipeline.from_seed(spec_of()), batch()
    before, logits = copied(pipeline.tensors()), pipeline(1, images)
    pipeline.train().eval()
    assert torch.equal(pipeline(torch.tensor(1), images), logits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in pipeline.tensors().items())


def test_parameters_require_gradients_by_choice() -> None:
    pipeline, (images, labels) = Pipeline.from_seed(spec_of()), batch()
    assert not any(parameter.requires_grad for parameter in pipeline.parameters())
    pipeline.requires_grad_().train()
    F.cross_entropy(pipeline(1, images), labels).backward()
    names = {name.removeprefix("generator.") for name, found in pipeline.named_parameters() if found.grad is not None}
    assert names == {name for name in pipeline.tensors() if "running_" not in name}
    heads = pipeline.generator.get_parameter("member.output.weight").grad
    assert heads is not None
    assert heads[1].abs().sum() > 0
    assert not heads[[0, 2]].any()  # other members' own tensors have no part in it


def test_dropout_acts_in_training_mode_alone() -> None:
    network = dataclasses.replace(spec_of().network, dropout=0.5)
    pipeline, (images, _) = Pipeline.from_seed(spec_of(network=network)), batch()
    assert torch.equal(pipeline(0, images), pipeline(0, images))
    pipeline.train()
    assert not torch.equal(pipeline(0, images), pipeline(0, images))
    pipeline.network.group1.block1.dropout.eval()  # parts are reached as in any module
    pipeline.network.group2.block1.dropout.eval()
    pipeline.network.group3.block1.dropout.eval()
    assert torch.equal(pipeline(0, images), pipeline(0, images))


@pytest.mark.parametrize("member", [-1, 3])
def test_a_member_that_does_not_exist_is_not_trained(member: int) -> None:
    pipeline, (images, _) = Pipeline.from_seed(spec_of()).train(), batch()
    before = copied(pipeline.tensors())
    with pytest.raises(RuntimeInputError, match=f"member {member} does not exist"):
        pipeline(torch.tensor(member), images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in pipeline.tensors().items())


def test_what_was_trained_is_saved_and_built(tmp_path: Path) -> None:
    pipeline, (images, labels) = Pipeline.from_seed(spec_of()).requires_grad_().train(), batch()
    step(pipeline, F.cross_entropy(pipeline(2, images), labels))
    save_checkpoint(tmp_path / "trained.safetensors", pipeline.checkpoint("a test"))  # in training mode still
    checkpoint = load_checkpoint(tmp_path / "trained.safetensors")
    with torch.no_grad():
        found = checkpoint.ensemble()(2, {"image": images})["logits"]
        assert torch.equal(found, pipeline.eval()(2, images))
    pipeline.checkpoint("a test").tensors["member.output.bias"].zero_()  # a copy
    assert pipeline.tensors()["member.output.bias"].any()


def test_one_set_of_statistics_for_members_that_differ_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    pipeline, (images, _) = Pipeline.from_seed(spec_of(member_statistics=False)).train(), batch()
    with caplog.at_level(logging.WARNING), torch.no_grad():
        pipeline(0, images)
        pipeline(1, images)
    (record,) = caplog.records
    assert "running_mean is one for all members, whose kernels differ" in record.getMessage()
    caplog.clear()
    with torch.no_grad():
        Pipeline.from_seed(spec_of()).train()(0, images)
        Pipeline.from_seed(spec_of("batch-ensemble", member_statistics=False)).train()(0, images)
    assert not caplog.records  # scales and heads alone lose little


def test_bases_in_float16_are_not_trained() -> None:
    pipeline = Pipeline.from_seed(spec_of(hypernet=HypernetSpec(basis_dtype=BasisDtype.FLOAT16)))
    with pytest.raises(SpecError, match=r"basis is stored in float16, .* train in float32"):
        pipeline.train()


class Normed(nn.Module):
    """Batch norm, dropout and tied weights: what training mode changes."""

    def __init__(self, momentum: float | None = 0.2) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(4, 6), nn.BatchNorm1d(6, momentum=momentum), nn.Dropout(0.3)
        self.head = nn.Linear(6, 3)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.drop(F.relu(self.norm(self.first(rows)))))


RULES = (Rule("*running_*", "member"), Rule("head.*", "member"), Rule("first.weight", "generated"), Rule("*", "shared"))


def of_recipe(module: nn.Module) -> Ensemble:
    return Ensemble.from_recipe(
        module.eval(), ModuleRecipe(rules=RULES), members=3, example_inputs={"rows": torch.zeros(2, 4)}
    )


def of_modules(_: nn.Module) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble.from_modules([Normed().eval() for _ in range(3)], example_inputs={"rows": torch.zeros(2, 4)})


@pytest.mark.parametrize("make", first(1, [of_recipe, of_modules]))
def test_any_module_is_trained_as_a_member(make: Callable[[nn.Module], Ensemble]) -> None:
    ensemble = make(Normed())
    module, rows = ensemble.trainable(), torch.randn(8, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    plain = Normed()
    plain.load_state_dict(ensemble.weights(1), strict=False)
    plain.drop.p = 0.0
    ensemble.network.drop.p = 0.0
    assert torch.equal(module(1, {"rows": rows})["output"], ensemble(1, {"rows": rows})["output"])
    for _ in range(2):
        plain.train(), module.train()
        step(plain, plain(rows).square().mean())
        step(module, module(1, {"rows": rows})["output"].square().mean())
        plain.zero_grad()
        module.zero_grad()
        if make is of_recipe:  # the generated weight moves otherwise than a plain one
            plain.first.weight.data.copy_(ensemble.weights(1)["first.weight"])
    found = ensemble.weights(1)
    for name, expected in plain.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-6)


def test_an_ensemble_that_is_being_trained_is_built_in_evaluation_mode_alone(tmp_path: Path) -> None:
    ensemble = of_recipe(Normed())
    module = ensemble.trainable().train()
    step(module, module(1, {"rows": torch.randn(8, 4)})["output"].square().mean())
    options = BuildOptions(formats=("onnx",))
    with pytest.raises(CaptureError, match=r"is in training mode .* call eval\(\)"):
        build(ensemble, tmp_path / "early", options=options)
    module.eval()
    assert build(ensemble, tmp_path / "trained", options=options).path.exists()  # gradients are in nobody's way


@pytest.mark.thorough
def test_a_bundle_does_not_depend_on_gradients_and_modes(tmp_path: Path) -> None:
    checkpoint = Pipeline.from_seed(spec_of()).checkpoint("a test")
    pipeline = Pipeline(checkpoint.spec, checkpoint.tensors).requires_grad_().train()
    options = BuildOptions(formats=("onnx",))
    first = build(checkpoint, tmp_path / "first", options=options).path
    again = build(
        Checkpoint(spec=pipeline.spec, tensors=pipeline.eval().tensors(), origin="a test"),
        tmp_path / "again",
        options=options,
    ).path
    for path in (first / name for name in ("model.onnx", "hypernet.onnx", "network.onnx", "weights.bin")):
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_a_copy_is_trained_apart() -> None:
    module = of_recipe(Normed()).trainable()
    average = copy.deepcopy(module)
    step(module.train(), module(1, {"rows": torch.randn(8, 4)})["output"].square().mean())
    assert not torch.equal(module.ensemble.tensors["member.head.bias"], average.ensemble.tensors["member.head.bias"])
    assert (
        average.ensemble.tensors["member.head.bias"].data_ptr()
        == average.generator.get_parameter("member.head.bias").data_ptr()
    )
    assert not average.network.training


def test_modules_are_pickled_as_any_module_is() -> None:
    images, _ = batch()
    for spec in (spec_of(), spec_of("batch-ensemble")):
        pipeline = Pipeline.from_seed(spec, seed=0)
        assert torch.equal(pickle.loads(pickle.dumps(pipeline))(1, images), pipeline(1, images))
    module = of_recipe(Normed()).trainable()
    rows = {"rows": torch.randn(8, 4)}
    other = pickle.loads(pickle.dumps(module))
    assert torch.equal(other(1, rows)["output"], module(1, rows)["output"])
    assert other.ensemble.tensors["member.head.bias"].data_ptr() == other.generator.get("member.head.bias").data_ptr()


def test_an_average_over_the_batches_of_all_members_is_refused() -> None:
    with pytest.raises(SpecError, match=r"norm \(BatchNorm1d\) has momentum=None: .* give it a number"):
        of_recipe(Normed(momentum=None)).trainable().train()


def test_networks_that_were_captured_are_trained_themselves() -> None:
    class Hypernetwork(nn.Module):
        def forward(self, vector: Tensor) -> dict[str, Tensor]:
            return {"weight": vector.reshape(3, 4)}

    ensemble = Ensemble.from_hypernetwork(
        Hypernetwork().eval(),
        nn.Linear(4, 3).eval(),
        example_inputs={"vector": torch.ones(12), "input": torch.ones(2, 4)},
    )
    with pytest.raises(SpecError, match="was captured from networks of your own: train those"):
        ensemble.trainable()
