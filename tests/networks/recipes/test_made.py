"""An ensemble of a module with a recipe computes what the module computes with the weights that the plan says."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from module_recipes import RECIPES, Case
from torch.nn import functional as F

from hnexport import Ensemble, ModuleRecipe, Rule
from hnexport.errors import CheckpointError, SpecError
from hnexport.spec import Source, StoredKind


@pytest.fixture(scope="module", params=RECIPES)
def case(request: pytest.FixtureRequest) -> Case:
    return RECIPES[request.param]


@pytest.fixture(scope="module")
def ensemble(case: Case) -> Ensemble:
    return case.ensemble()


def by_hand(ensemble: Ensemble, member: int) -> dict[Any, Any]:
    """A member's tensors, from the stored ones and the plan alone, in numpy."""
    spec: Any = ensemble.generator.spec
    stored = {name: t.double().numpy() for name, t in ensemble.tensors.items()}
    activations: dict[str, Callable[[Any], Any]] = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}
    chunks, activation = {}, activations[spec.hypernet.activation]
    for part in spec.plan.hypernets:
        prefix, hidden = f"hypernet.{part.name}", stored[f"hypernet.{part.name}.embedding"][member]
        for number in range(1, len(spec.hypernet.hidden_layers) + 1):
            hidden = hidden @ stored[f"{prefix}.hidden{number}.weight"]
            hidden = activation(hidden + stored.get(f"{prefix}.hidden{number}.bias", 0))
        chunks[part.name] = hidden @ stored[f"{prefix}.basis"] + stored.get(f"{prefix}.bias", 0)
    weights = {}
    for slot in spec.slots:
        if spec.sources[slot.name] is Source.SHARED:
            weights[slot.name] = stored[f"shared.{slot.name}"]
        elif spec.sources[slot.name] is Source.MEMBER:
            weights[slot.name] = stored[f"member.{slot.name}"][member]
        else:
            assembly = spec.plan.assembly[slot.name]
            parts = [chunks[p.hypernet][p.chunk][p.offset : p.offset + p.size] for p in assembly.pieces]
            if assembly.axis is None:
                weights[slot.name] = np.concatenate(parts).reshape(slot.shape)
            else:
                shaped = [part.reshape(p.shape) for part, p in zip(parts, assembly.pieces, strict=True)]
                weights[slot.name] = np.concatenate(shaped, axis=assembly.axis)
    return weights


def test_every_member_is_the_module_with_weights_made_by_hand(case: Case, ensemble: Ensemble) -> None:
    inputs = case.inputs(5, 11)
    for member in range(case.members):
        module = case.module()
        weights = {name: torch.from_numpy(value) for name, value in by_hand(ensemble, member).items()}
        module.load_state_dict(weights, strict=False)  # tied ones and counters are not in it
        with torch.no_grad():
            raw = module(**inputs)
        expected = raw if isinstance(raw, dict) else {ensemble.signature.outputs[0].name: raw}
        found = ensemble(member, inputs)
        assert set(found) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_the_recipe_says_what_is_generated(case: Case, ensemble: Ensemble) -> None:
    spec: Any = ensemble.generator.spec
    generated = [name for name, source in spec.sources.items() if source is Source.GENERATED]
    assert len(generated) == case.generated
    assert not {item.slot for item in ensemble.stored} & set(generated)


def test_members_differ_and_an_id_that_does_not_exist_has_no_outputs(case: Case, ensemble: Ensemble) -> None:
    inputs = case.inputs(3, 2)
    found = [ensemble(member, inputs) for member in range(case.members)]
    for name in found[0]:
        for one, other in itertools.pairwise(found):
            assert (one[name] - other[name]).norm() > 1e-2 * one[name].norm()
    for absent in (-1, case.members):
        assert all(bool(value.isnan().all()) for value in ensemble(absent, inputs).values())


def test_generated_tensors_are_as_large_as_the_modules_own(case: Case, ensemble: Ensemble) -> None:
    own = {name: parameter.detach() for name, parameter in case.module().named_parameters()}
    spec: Any = ensemble.generator.spec
    for name in (name for name, source in spec.sources.items() if source is Source.GENERATED):
        sizes = [ensemble.weights(member)[name].square().mean().sqrt() for member in range(case.members)]
        ratio = float(torch.stack(sizes).mean() / own[name].square().mean().sqrt())
        assert 0.3 < ratio < 3.5, (name, ratio)


def test_one_seed_draws_the_same_numbers_and_another_one_others(case: Case, ensemble: Ensemble) -> None:
    again, other = case.ensemble(), case.ensemble(seed=1)
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in ensemble.tensors.items())
    embedding = next(item.name for item in ensemble.stored if item.kind is StoredKind.EMBEDDING)
    assert not torch.equal(ensemble.tensors[embedding], other.tensors[embedding])


def test_weights_come_back_from_a_file(case: Case, ensemble: Ensemble, tmp_path: Path) -> None:
    changed = {
        name: 1.01 * tensor if tensor.is_floating_point() else tensor for name, tensor in ensemble.tensors.items()
    }
    safetensors.torch.save_file(changed, tmp_path / "trained.safetensors")
    found = case.ensemble(weights=tmp_path / "trained.safetensors")
    assert all(torch.equal(tensor, changed[name]) for name, tensor in found.tensors.items())
    assert found.origin.endswith("weights of trained.safetensors")


def test_weights_come_back_from_a_training_scripts_file_and_out_of_a_wrapper(tmp_path: Path) -> None:
    case = RECIPES["convolution"]
    tensors = {name: tensor.clone() for name, tensor in case.ensemble(seed=3).tensors.items()}
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"hnet_state_dict": {**wrapped, "criterion.weight": torch.ones(2)}, "epoch": 3}, tmp_path / "run.pt")
    safetensors.torch.save_file(wrapped, tmp_path / "run.safetensors")
    for given in (tmp_path / "run.pt", tmp_path / "run.safetensors", wrapped):
        found = case.ensemble(weights=given).tensors
        assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    twice = {**wrapped, **{f"average.{name}": tensor for name, tensor in tensors.items()}}
    with pytest.raises(CheckpointError, match=r"more than once, in module., average.: give a file of one"):
        case.ensemble(weights=twice)
    with pytest.raises(CheckpointError, match=r"is missing; it holds module.hypernet.flat.embedding, "):
        case.ensemble(weights={name: tensor for name, tensor in wrapped.items() if "basis" not in name})


def test_statistics_of_members_begin_as_the_modules_own() -> None:
    case = RECIPES["tabular"]
    own, found = dict(case.module().named_buffers()), case.ensemble().tensors["member.layers.1.running_var"]
    assert all(torch.equal(one, own["layers.1.running_var"]) for one in found)


def test_weights_of_another_number_of_members_are_refused(case: Case, ensemble: Ensemble) -> None:
    with pytest.raises(CheckpointError, match=r"should be float32 .*; is it of another recipe, module or number"):
        case.ensemble(weights=ensemble.tensors, members=case.members + 1)


def test_weights_that_are_missing_or_too_many_are_refused() -> None:
    case = RECIPES["convolution"]
    tensors = case.ensemble().tensors
    with pytest.raises(CheckpointError, match=r"the tensor hypernet.flat.basis is missing"):
        case.ensemble(weights={name: tensor for name, tensor in tensors.items() if "basis" not in name})
    with pytest.raises(CheckpointError, match="'other' belongs to no slot"):
        case.ensemble(weights={**tensors, "other": torch.zeros(1)})


def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("x")
    with pytest.raises(CheckpointError, match="weights is no safetensors file of an ensemble's tensors"):
        RECIPES["convolution"].ensemble(weights=tmp_path / "weights")


def test_an_ensemble_can_be_trained_as_it_is() -> None:
    case = RECIPES["convolution"]
    ensemble, inputs = case.ensemble(), case.inputs(16, 4)
    label = torch.arange(16) % 3
    parameters = list(ensemble.generator.requires_grad_(True).parameters())
    optimiser, losses = torch.optim.Adam(parameters, lr=0.01), []
    for _ in range(30):
        loss = sum(F.cross_entropy(ensemble(member, inputs)["classes"], label) for member in range(case.members))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert not ensemble.tensors["hypernet.flat.basis"].requires_grad


def test_a_recipe_in_toml_makes_the_same_ensemble(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'planner = "flat"\nchunk_size = 1000\n[[rules]]\npattern = "layers.*"\nsource = "generated"\n'
        '[[rules]]\npattern = "embedding.*"\nsource = "generated"\n[[rules]]\npattern = "head.*"\nsource = "member"\n'
    )
    case = RECIPES["convolution"]
    assert case.ensemble(recipe=tmp_path / "r.toml").source == case.ensemble().source


REFUSED = {
    "no members": ({"members": 0}, "members: expected a whole number of at least 1, found 0"),
    "no recipe": ({"recipe": [Rule("*", "shared")]}, "recipe: expected a ModuleRecipe or the path of one in TOML"),
    "all shared": ({"recipe": ModuleRecipe(rules=(Rule("*", "shared"),))}, "the recipe shares every tensor"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_ensemble_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        RECIPES["convolution"].ensemble(**changes)


def test_a_module_in_training_mode_is_refused() -> None:
    case = RECIPES["tabular"]
    with pytest.raises(SpecError, match="the module .*is in training mode"):
        Ensemble.from_recipe(case.module().train(), case.recipe, members=2, example_inputs=case.inputs(2, 1))
