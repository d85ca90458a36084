"""One set of batch-norm statistics for members whose kernels differ is warned of, wherever weights come from."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles import small_spec
from late_phase import LatePhase
from thorough import first
from torch import Tensor, nn

from hnexport import Ensemble, ModuleRecipe, Rule
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, import_late_phase, load_checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.spec import PipelineSpec

ONE_SET = small_spec("hypernet")
BATCH_ENSEMBLE = small_spec("batch-ensemble")


def trained(spec: PipelineSpec) -> dict[str, Tensor]:
    """Random weights with statistics that were written."""
    return {
        name: tensor + 0.1 if "running_mean" in name else tensor for name, tensor in initialise(spec, seed=0).items()
    }


CHECKPOINTS: dict[str, tuple[PipelineSpec, bool]] = {
    "generated kernels": (ONE_SET, True),
    "statistics of each member": (dataclasses.replace(ONE_SET, member_statistics=True), False),
    "one member": (dataclasses.replace(ONE_SET, members=1), False),
    "kernels that all share": (BATCH_ENSEMBLE, False),
}


@pytest.mark.parametrize(("spec", "warned"), CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_a_native_checkpoint_is_warned_of_when_it_is_read(
    spec: PipelineSpec, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(tmp_path / "a.safetensors", Checkpoint(spec=spec, tensors=trained(spec), origin="a test"))
    with caplog.at_level(logging.WARNING):
        load_checkpoint(tmp_path / "a.safetensors")
    assert ("a.safetensors: 3 members with kernels of their own meet one set of batch-norm" in caplog.text) is warned
    assert ("member_statistics=True in the specification" in caplog.text) is warned
    assert ("`hnexport recalibrate`" in caplog.text) is warned


def test_what_was_never_trained_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fresh = Checkpoint(spec=ONE_SET, tensors=initialise(ONE_SET, seed=0), origin="a test")
    save_checkpoint(tmp_path / "fresh.safetensors", fresh)
    load_checkpoint(tmp_path / "fresh.safetensors")
    assert "statistics" not in caplog.text


@pytest.mark.parametrize("shared", ["batchnorm", "adapter"])
def test_a_late_phase_network_is_warned_of_too(shared: str, caplog: pytest.LogCaptureFixture) -> None:
    case = LatePhase(depth=10, width=1, members=2, shared=frozenset({shared}))
    import_late_phase(case.state_dict())
    assert ("meet one set" in caplog.text) is (shared == "batchnorm")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, rows: Tensor) -> Tensor:
        return self.head(self.norm(self.first(rows)))


OWN = Rule("*running_*", "member")
RECIPES: dict[str, tuple[tuple[Rule, ...], bool]] = {
    "generated": ((Rule("first.weight", "generated"),), True),
    "members'": ((Rule("first.weight", "member"),), True),
    "statistics of each member": ((OWN, Rule("first.weight", "generated")), False),
    "a generated head": ((Rule("head.weight", "generated"),), False),
    "scales of each member": ((Rule("norm.weight", "member"), Rule("first.bias", "member")), False),
}


def of_recipe(network: nn.Module, rules: tuple[Rule, ...], **changes: Any) -> Ensemble:
    recipe = ModuleRecipe(rules=(*rules, Rule("*", "shared")))
    return Ensemble.from_recipe(
        network.eval(), recipe, members=3, example_inputs={"rows": torch.zeros(2, 4)}, **changes
    )


@pytest.mark.parametrize(("rules", "warned"), RECIPES.values(), ids=RECIPES.keys())
def test_an_ensemble_of_a_recipe_is_warned_of_once_statistics_were_written(
    rules: tuple[Rule, ...], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network()
    fresh = of_recipe(network, rules)
    assert "statistics" not in caplog.text
    tensors = {name: tensor + 0.1 if "running" in name else tensor for name, tensor in fresh.tensors.items()}
    of_recipe(network, rules, weights=tensors)
    assert ("network-3: 3 members with kernels of their own meet one set of batch-norm" in caplog.text) is warned
    assert ("(norm.running_mean)" in caplog.text) is warned
    assert ("Rule('*running_*', 'member') first in the recipe" in caplog.text) is warned
    assert ("`hnexport.recalibration.recalibrate`" in caplog.text) is warned


@pytest.mark.parametrize(("rules", "warned"), first(1, RECIPES.values()), ids=RECIPES.keys())
def test_training_one_set_is_warned_of_likewise(
    rules: tuple[Rule, ...], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    module = of_recipe(Network(), rules).trainable().train()
    module(0, {"rows": torch.randn(8, 4)})
    assert ("is one for all members, whose kernels differ" in caplog.text) is warned
