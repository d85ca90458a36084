"""A hypernetwork and its network: every member and condition is the modules', or it is refused with the reason."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypernetworks import CASES, Hyper, Main
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.errors import BundleError, CaptureError, RuntimeInputError, SpecError
from hnexport.families import HYPERNETWORK, family
from hnexport.names import GUARD
from hnexport.spec import StoredKind


@pytest.mark.parametrize("name", CASES)
def test_every_member_and_condition_is_the_modules(name: str) -> None:
    case = CASES[name]
    ensemble = case.ensemble()
    assert ensemble.source.family == HYPERNETWORK
    assert ensemble.signature.conditions == tuple(case.conditions)
    for seed in range(2):
        given = case.given(seed)
        for member in range(case.members or 1):
            with torch.no_grad():
                found = ensemble(member, given)["y"]
            torch.testing.assert_close(found, case.expected(member, given))


@pytest.mark.parametrize("name", CASES)
def test_an_id_that_does_not_exist_and_a_nan_condition_give_nan(name: str) -> None:
    case = CASES[name]
    ensemble = case.ensemble()
    given = case.given()
    for cond_id in (-1, case.members or 1, 2**40):
        assert ensemble(cond_id, given)["y"].isnan().all()
    for condition in case.conditions:
        spoilt = given[condition].clone()
        spoilt.view(-1)[-1] = torch.nan
        assert ensemble(0, {**given, condition: spoilt})["y"].isnan().all()


def test_what_is_not_returned_stays_the_networks_own_and_is_shared() -> None:
    stored = {item.slot: item for item in CASES["both"].ensemble().stored if item.slot is not None}
    assert set(stored) == {
        *("first.bias", "second.weight", "second.bias"),
        *("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"),
    }
    assert {item.kind for item in stored.values()} == {StoredKind.SHARED}


def test_a_condition_that_is_missing_is_asked_for() -> None:
    ensemble = CASES["both"].ensemble()
    with pytest.raises(RuntimeInputError, match="makes its weights of condition: give it"):
        ensemble.weights(0)


def test_the_family_makes_the_weights_again_from_data() -> None:
    case = CASES["both"]
    ensemble = case.ensemble()
    again = family(HYPERNETWORK).generator(ensemble, ensemble.source.spec, ensemble.tensors)
    condition = case.given(5)["condition"]
    found, expected = (one(torch.tensor(1), condition=condition) for one in (again, ensemble.generator))
    assert all(torch.equal(found[slot], expected[slot]) for slot in expected)
    assert GUARD in found


def _without(stored: Any, slot: str) -> tuple[Any, ...]:
    return tuple(item for item in stored if item.slot != slot)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: {"stored": _without(e.stored, "second.bias")}, "second.bias.* is not filled exactly once"),
        (lambda e: {"stored": (*e.stored, e.stored[-1])}, "fills no slot, or one that is filled already"),
        (lambda e: {"signature": dataclasses.replace(e.signature, conditions=())}, "a step uses .*input/condition"),
    ],
    ids=["a slot without a tensor", "a slot with two", "a condition that is none"],
)
def test_tables_that_contradict_the_steps_are_refused(change: Callable[[Any], Any], message: str) -> None:
    ensemble = CASES["both"].ensemble()
    forged = dataclasses.replace(ensemble, **change(ensemble))
    with pytest.raises(BundleError, match=message):
        family(HYPERNETWORK).check_described(forged, forged.source.spec)


class Returning(nn.Module):
    """A hypernetwork that returns what it is told, of a condition alone."""

    def __init__(self, returned: Any) -> None:
        super().__init__()
        self.returned, self.layer = returned, nn.Linear(6, 20)

    def forward(self, condition: Tensor) -> Tensor:
        return self.returned(self.layer(condition))


class Looking(Hyper):
    def __init__(self, look: Callable[[Any, Any, Any], Any]) -> None:
        super().__init__(3)
        self.look = look
        self.heads = nn.ModuleList([nn.Linear(6, 20) for _ in range(3)])

    def forward(self, cond_id: Tensor, condition: Tensor) -> dict[Any, Any]:
        return {"first.weight": self.look(self, cond_id, condition).view(5, 4)}


class Both(Hyper):
    def forward(self, cond_id: Tensor, x: Tensor) -> dict[str, Tensor]:
        return super().forward(cond_id, x[0].repeat(6)[:6])


def _weight(made: Any) -> dict[Any, Any]:
    return {"first.weight": made.view(5, 4)}


GIVEN = {"condition": torch.zeros(6), "x": torch.zeros(2, 4)}
REFUSED = {
    "a name that there is not": (
        lambda: Returning(lambda made: {"first.weigth": made.view(5, 4)}),
        {},
        "'first.weigth', which is no tensor of the network; did you mean 'first.weight'",
    ),
    "another shape": (lambda: Returning(lambda made: {"first.weight": made.view(4, 5)}), {}, r"\[4, 5\], the network"),
    "another dtype": (lambda: Returning(lambda made: {"first.weight": made.view(5, 4).double()}), {}, "as float64"),
    "no dict": (lambda: Returning(lambda made: made), {}, "expected a dict of the network's tensors by name"),
    "no tensor": (lambda: Returning(lambda made: {"first.weight": 1}), {}, "returns int as 'first.weight'"),
    "both names of a tied tensor": (
        lambda: Returning(lambda made: {"scale": made[:5], "tied.scale": made[:5]}),
        {},
        "which the network ties: return one",
    ),
    "an unused condition": (
        lambda: Returning(lambda made: {"first.bias": torch.zeros(5)}),
        {},
        "does not use its condition condition",
    ),
    "an unused id": (
        lambda: Looking(lambda self, cond_id, condition: self.heads[0](condition)),
        {"members": 3},
        "does not use its condition id: all members would be equal",
    ),
    "random numbers": (lambda: Returning(lambda made: _weight(made + torch.randn(20))), {}, "draws random numbers"),
    "training": (lambda: Returning(_weight).train(), {}, "hypernet.*is in training mode"),
    "an input of both": (
        lambda: Both(3),
        {"members": 3, "example_inputs": {"x": torch.zeros(2, 4)}},
        "an input belongs to one of them",
    ),
    "an input of neither": (
        lambda: Returning(_weight),
        {"example_inputs": {**GIVEN, "y": torch.zeros(1)}},
        "neither hypernet.forward .* nor network.forward .* takes 'y'",
    ),
    "whole numbers": (
        lambda: Returning(_weight),
        {"example_inputs": {**GIVEN, "condition": torch.zeros(6, dtype=torch.int64)}},
        "is int64: a condition is floating-point",
    ),
    "a condition that is not given": (
        lambda: Returning(_weight),
        {"example_inputs": torch.zeros(2, 4)},
        "hypernet.forward needs condition: give it by name",
    ),
    "an open axis": (lambda: Returning(_weight), {"dynamic_axes": {"condition": {0: "n"}}}, "has fixed sizes"),
    "an id of no members": (lambda: Hyper(3), {}, "needs cond_id: .* how many there are with members="),
    "members without an id": (
        lambda: Returning(_weight),
        {"members": 2, "example_inputs": GIVEN},
        "neither hypernet.forward .* takes 'condition'",
    ),
    "no members": (lambda: Hyper(3), {"members": 0}, "expected a whole number of at least 1"),
}


@pytest.mark.parametrize(("make", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_ensemble_is_refused(make: Callable[[], Any], options: dict[str, Any], message: str) -> None:
    hypernet = make()
    hypernet = hypernet if message.endswith("training mode") else hypernet.eval()
    with pytest.raises(SpecError, match=message):
        Ensemble.from_hypernetwork(hypernet, Main().eval(), **{"example_inputs": GIVEN, **options})


@pytest.mark.parametrize(
    "look",
    [
        lambda self, cond_id, condition: self.heads[0 if cond_id == 0 else 1](condition),
        lambda self, cond_id, condition: self.heads[cond_id](condition),
        lambda self, cond_id, condition: self.heads[int(cond_id)](condition),
    ],
    ids=["a branch", "an index", "a number"],
)
def test_an_id_that_python_looks_into_is_refused_with_the_remedy(look: Callable[[Any, Any, Any], Any]) -> None:
    with pytest.raises(CaptureError, match=r"select it with index_select\(0, cond_id.reshape\(1\)\)"):
        Ensemble.from_hypernetwork(Looking(look).eval(), Main().eval(), members=3, example_inputs=GIVEN)


def test_a_tensor_indexed_by_the_id_is_selected() -> None:
    look = Looking(lambda self, cond_id, condition: self.heads[0](condition) * self.embeddings.weight[cond_id].sum())
    hypernet, network = look.eval(), Main().eval()
    ensemble = Ensemble.from_hypernetwork(hypernet, network, members=3, example_inputs=GIVEN)
    condition = torch.ones(6)
    for member in range(3):
        made = hypernet(torch.tensor(member), condition)["first.weight"]
        torch.testing.assert_close(ensemble.weights(member, {"condition": condition})["first.weight"], made)


def _written(self: Any, cond_id: int, condition: Tensor) -> Any:
    made = self.heads[0](condition * self.embeddings.weight[cond_id])
    made[:8] *= 2
    made[3] = 0
    return made


def _assigned(self: Any, cond_id: int, condition: Tensor) -> Tensor:
    made = torch.zeros(5, 4)
    made[:, :2] = self.heads[0](condition * self.embeddings.weight[cond_id])[:10].view(5, 2)
    return made


TAKEN = {
    "what is written in place": _written,
    "what is assigned to zeros": _assigned,
    "an index that counts from the end": lambda self, cond_id, condition: self.heads[0](
        condition * self.embeddings.weight[cond_id - 1] + self.embeddings.weight[-cond_id - 1]
    ),
    "a norm": lambda self, cond_id, condition: self.heads[0](
        nn.functional.normalize(condition + self.embeddings(cond_id), dim=0) * condition.norm()
    ),
}


@pytest.mark.parametrize("look", TAKEN.values(), ids=TAKEN.keys())
def test_what_people_write_is_computed_for_every_member(look: Callable[[Any, Any, Any], Any]) -> None:
    hypernet, network = Looking(look).eval(), Main().eval()
    ensemble = Ensemble.from_hypernetwork(
        hypernet, network, members=3, example_inputs={**GIVEN, "condition": torch.ones(6)}
    )
    condition = torch.linspace(-2, 3, 6)
    for member in range(3):
        made = hypernet(torch.tensor(member), condition)["first.weight"]
        torch.testing.assert_close(ensemble.weights(member, {"condition": condition})["first.weight"], made)
