"""Training loops as people write them: optimisers with memory, accumulation, freezing, copies, parts in other modes."""

import copy
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypnettorch_ensembles import Case, flat_hwc
from hypnettorch_ensembles import build as build_hypnettorch
from thorough import first
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer

from hnexport import Ensemble, ModuleRecipe, Rule, runtime
from hnexport.build import BuildOptions, build
from hnexport.networks.wide_resnet.module import WideResNet
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.rows import relative_l2
from hnexport.spec import HypernetSpec

SMALL: dict[str, Any] = {"in_shape": (8, 8, 3), "k": 1, "num_feature_maps": (4, 4, 8, 8), "statistics": 3}
HYPNETTORCH: dict[str, Case] = {
    "hypernetwork": Case(**SMALL),
    "batch ensemble": Case(convolution="shared", norm="member", **SMALL),
}
OPTIMISERS: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "momentum and weight decay": lambda given: SGD(given, lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
    "Adam": lambda given: Adam(given, lr=1e-3, eps=1e-3),
    "AdamW": lambda given: AdamW(given, lr=1e-3),
}
SPEC = PipelineSpec(
    network=WideResNetSpec.from_name("wrn-10-1", image=ImageSpec(height=8, width=8), classes=5),
    members=3,
    recipe=RECIPES["hypernet"],
    hypernet=HypernetSpec(),
    member_statistics=True,
)


def batches(count: int, size: int = 7) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(count)
    return [
        (torch.randn(size, 3, 8, 8, generator=random) + 0.5, torch.randint(5, (size,), generator=random))
        for _ in range(count)
    ]


def trained(module: nn.Module, steps: int, seen: list[tuple[Tensor, Tensor]]) -> None:
    """Momentum SGD, a batch for each member in each step."""
    optimiser = SGD([one for one in module.parameters() if one.requires_grad], lr=0.05, momentum=0.9)
    for step in range(steps):
        optimiser.zero_grad()
        for member in range(3):
            images, labels = seen[(3 * step + member) % len(seen)]
            F.cross_entropy(module(member, images), labels).backward()
        optimiser.step()


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@pytest.mark.each_once
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("case", HYPNETTORCH)
def test_steps_that_remember_are_hypnettorchs(case: str, optimiser: str) -> None:
    theirs = build_hypnettorch(HYPNETTORCH[case])
    said = dataclasses.replace(theirs.case.overrides, image_height=8, image_width=8)
    theirs = dataclasses.replace(theirs, case=dataclasses.replace(theirs.case, overrides=said))
    before = theirs.checkpoint()
    pipeline = Pipeline(before.spec, copied(dict(before.tensors))).requires_grad_().train()
    theirs.mnet.train()
    networks = nn.ModuleList([theirs.hnet, theirs.mnet])
    optimisers = [OPTIMISERS[optimiser](module.parameters()) for module in (networks, pipeline)]
    for step in range(3):
        for one in optimisers:
            one.zero_grad()
        for number, (images, labels) in enumerate(batches(6)):  # two of each member, in turns: gradients accumulate
            member = (number + step) % 3
            given = theirs.weights(member)
            F.cross_entropy(theirs.mnet.forward(flat_hwc(images), weights=given, condition=member), labels).backward()
            F.cross_entropy(pipeline(member, images), labels).backward()
        for one in optimisers:
            one.step()
        with torch.no_grad():  # a look at how it is doing
            expected = theirs.predict(1, flat_hwc(images))
            torch.testing.assert_close(pipeline.eval()(1, images), expected, rtol=1e-4, atol=1e-4)
        theirs.mnet.train(), pipeline.train()
    after, tensors = theirs.checkpoint(), pipeline.tensors()
    for name, expected in after.tensors.items():
        assert (tensors[name] - expected).norm() < 5e-6 * expected.norm(), name
        assert not torch.equal(expected, before.tensors[name])  # the comparison would see what is not trained


def test_what_is_frozen_stays_and_statistics_move() -> None:
    pipeline = Pipeline.from_seed(SPEC).requires_grad_().train()
    pipeline.generator.get_submodule("hypernet").requires_grad_(False)
    before = copied(pipeline.tensors())
    trained(pipeline, 2, batches(3))
    for name, tensor in pipeline.tensors().items():
        assert torch.equal(tensor, before[name]) is name.startswith("hypernet."), name


def test_parts_in_another_mode_are_as_in_any_module() -> None:
    pipeline, ((images, _),) = Pipeline.from_seed(SPEC), batches(1)
    plain = WideResNet(SPEC.network)
    plain.load_state_dict(pipeline.weights(2), strict=False)
    plain.train(), pipeline.train()
    plain.group1.eval(), pipeline.network.group1.eval()
    before = copied(pipeline.tensors())
    with torch.no_grad():
        torch.testing.assert_close(pipeline(2, images), plain(images), rtol=1e-5, atol=1e-5)
    for name, tensor in pipeline.tensors().items():
        moved = "running_" in name and "group1" not in name
        assert torch.equal(tensor, before[name]) is not moved, name
        if moved:
            expected = plain.state_dict()[name.removeprefix("member.")]
            torch.testing.assert_close(tensor[2], expected, rtol=1e-5, atol=1e-6)


def by_copy(pipeline: Pipeline) -> Pipeline:
    return copy.deepcopy(pipeline)


def by_state_dict(pipeline: Pipeline) -> Pipeline:
    fresh = Pipeline.from_seed(SPEC, seed=5).requires_grad_().train()
    fresh.load_state_dict(copied(pipeline.state_dict()))
    return fresh


def by_tensors(pipeline: Pipeline) -> Pipeline:
    return Pipeline(SPEC, copied(pipeline.tensors())).requires_grad_().train()


@pytest.mark.parametrize("again", first(1, [by_copy, by_state_dict, by_tensors]))
def test_training_goes_on_from_a_copy(again: Callable[[Pipeline], Pipeline]) -> None:
    pipeline, seen = Pipeline.from_seed(SPEC).requires_grad_().train(), batches(3)
    trained(pipeline, 1, seen)
    other, between = again(pipeline), copied(pipeline.tensors())
    trained(other, 2, seen)
    assert all(torch.equal(tensor, between[name]) for name, tensor in pipeline.tensors().items())  # it is apart
    trained(pipeline, 2, seen)
    assert all(torch.equal(tensor, pipeline.tensors()[name]) for name, tensor in other.tensors().items())


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # Dynamo looks at every tensor's
def test_a_compiled_module_trains_likewise() -> None:
    pipeline, seen = Pipeline.from_seed(SPEC).requires_grad_().train(), batches(3)
    other = copy.deepcopy(pipeline)
    trained(pipeline, 2, seen)
    trained(torch.compile(other, backend="eager"), 2, seen)  # type: ignore[arg-type]
    for name, tensor in pipeline.tensors().items():
        torch.testing.assert_close(other.tensors()[name], tensor, rtol=1e-5, atol=1e-6)


class Tied(nn.Module):
    """Batch norm, and a decoder that is the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.norm, self.decoder = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.decoder.weight = self.encoder.weight
        self.head = nn.Linear(6, 3)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.decoder(F.relu(self.norm(self.encoder(rows)))))  # type: ignore[no-any-return]


def seeded(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Tied().eval()


EXAMPLES: dict[str, Any] = {"example_inputs": {"rows": torch.zeros(2, 6)}}
HEADS = (Rule("*running_*", "member"), Rule("head.*", "member"))
MADE: dict[str, Callable[[], Ensemble]] = {
    "a generated pair": lambda: Ensemble.from_recipe(
        seeded(0),
        ModuleRecipe(rules=(*HEADS, Rule("encoder.weight", "generated"), Rule("*", "shared")), hidden_layers=(4,)),
        members=3,
        **EXAMPLES,
    ),
    "a shared pair": lambda: Ensemble.from_recipe(
        seeded(0), ModuleRecipe(rules=(*HEADS, Rule("*", "shared"))), members=3, **EXAMPLES
    ),
    "modules": lambda: Ensemble.from_modules([seeded(seed) for seed in range(3)], **EXAMPLES),
}


@pytest.mark.parametrize("make", first(1, MADE.values()), ids=MADE.keys())
def test_what_is_tied_stays_tied_and_what_was_trained_is_built(make: Callable[[], Ensemble], tmp_path: Path) -> None:
    ensemble = make()
    module = ensemble.trainable().train()
    optimiser = AdamW(module.parameters(), lr=0.01)
    rows = torch.randn(12, 6, generator=torch.Generator().manual_seed(3)) * 2 - 1
    for _ in range(3):
        optimiser.zero_grad()
        for member in range(3):
            module(member, {"rows": rows})["output"].square().mean().backward()
        optimiser.step()
    bundle = build(ensemble_after(module), tmp_path / "bundle", options=BuildOptions(formats=("onnx",))).path
    loaded = runtime.load(bundle)
    for member in range(3):
        weights = ensemble.weights(member)
        assert weights["decoder.weight"] is weights["encoder.weight"]
        plain = seeded(7)
        plain.load_state_dict(weights, strict=False)
        with torch.no_grad():
            expected = plain(rows)
            assert relative_l2(module(member, {"rows": rows})["output"].numpy(), expected.numpy()).max() < 1e-6
        found = loaded.predict(member=member, rows=rows.numpy())
        assert relative_l2(found, expected.numpy()).max() < 1e-5


def ensemble_after(module: Any) -> Ensemble:
    return module.eval().ensemble  # type: ignore[no-any-return]
