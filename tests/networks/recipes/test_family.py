"""What a manifest says of a module with a recipe, and what it may not say."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from module_recipes import RECIPES

from hnexport.ensemble import Ensemble
from hnexport.errors import BundleError, HnexportError
from hnexport.families import RECIPE, family
from hnexport.names import GUARD
from hnexport.networks.recipes.family import check, check_described, generator, plan


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return RECIPES["convolution"].ensemble()


def test_the_family_is_known_by_its_name(ensemble: Ensemble) -> None:
    assert ensemble.source.family == RECIPE
    assert family(RECIPE).described(ensemble.source.spec) is None
    check(ensemble.source.spec, 0)
    check_described(ensemble, ensemble.source.spec)
    assert plan(ensemble.source.spec) == ensemble.generator.spec.plan


def test_the_generator_comes_again_from_the_stored_tensors(ensemble: Ensemble) -> None:
    again = generator(ensemble, ensemble.source.spec, ensemble.tensors)
    for member in (0, 2, 3, -1):
        expected, found = ensemble.generator(torch.tensor(member)), again(torch.tensor(member))
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected if name != GUARD)
        assert bool(found[GUARD].isnan().all()) == (member in (3, -1))


def edited(
    spec: Mapping[str, Any],
    path: tuple[Any, ...],
    value: int | bool,
) -> Any:
    changed: Any = copy.deepcopy(spec)
    *way, last = path
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = value
    return changed


HUGE = {
    "chunks": (("plan", "hypernets", 0, "chunks"), 10**6, "asks for 1000000 chunks"),
    "chunk size": (("plan", "hypernets", 0, "chunk_size"), 10**12, "chunks would take 40000000000000 bytes"),
    "a negative size": (("plan", "hypernets", 0, "embedding_size"), -1, "expected sizes of at least 1"),
    "hidden layers": (("recipe", "hidden_layers"), [1] * 200_000, "asks for 200000 hidden layers"),
    "a wide hidden layer": (("recipe", "hidden_layers"), [10**12], "would take 40000000000000 bytes"),
    "a rule of another source": (("recipe", "rules", 0, "source"), "stolen", "found 'stolen'"),
}


@pytest.mark.parametrize(("path", "value", "said"), HUGE.values(), ids=HUGE.keys())
def test_what_asks_for_too_much_is_refused_before_a_table_is_made(
    path: tuple[Any, ...], value: Any, said: str, ensemble: Ensemble
) -> None:
    with pytest.raises(HnexportError, match=said):
        check(edited(ensemble.source.spec, path, value), 10_000)


def without(table: str, position: int) -> Callable[[Any, Any], Any]:
    def change(ensemble: Ensemble, spec: Any) -> tuple[Any, Any]:
        items = list(getattr(ensemble, table))
        del items[position]
        return dataclasses.replace(ensemble, **{table: tuple(items)}), spec

    return change


def twice(table: str, position: int) -> Callable[[Any, Any], Any]:
    def change(ensemble: Ensemble, spec: Any) -> tuple[Any, Any]:
        items = getattr(ensemble, table)
        return dataclasses.replace(ensemble, **{table: (*items, items[position])}), spec

    return change


def changed(table: str, position: int, **fields: tuple[int, int] | str) -> Callable[[Any, Any], Any]:
    def change(ensemble: Ensemble, spec: Any) -> tuple[Any, Any]:
        items = list(getattr(ensemble, table))
        items[position] = dataclasses.replace(items[position], **fields)
        return dataclasses.replace(ensemble, **{table: tuple(items)}), spec

    return change


def spec_with(
    path: tuple[str, str, str, str, int, str] | tuple[str, str, int, str] | tuple[str, str], value: int | bool
) -> Callable[[Any, Any], tuple[Any, Any]]:
    return lambda ensemble, spec: (ensemble, edited(spec, path, value))


OTHERS = {
    "no basis": (without("stored", 1), "'hypernet.flat.basis' is missing"),
    "a basis of another shape": (changed("stored", 1, shape=(9, 1000)), r"expected .*\[8, 1000\].*found .*\[9, 1000\]"),
    "another hypernetwork": (changed("stored", 0, hypernet="other"), "expected .*'flat'.*found .*'other'"),
    "a member's tensor twice": (twice("stored", -1), "expected None, found .*'member.head.bias'"),
    "nothing fills a slot": (without("stored", -1), "nothing fills the slot 'head.bias'"),
    "a slot that is no longer there": (without("slots", 0), "assembles 'embedding.weight', which is no slot"),
    "a generated slot of another dtype": (changed("slots", 0, dtype="float64"), "is float64, only float32 is"),
    "a piece outside its chunk": (
        spec_with(("plan", "assembly", "layers.0.weight", "pieces", 0, "offset"), 999),
        "takes elements 999 to 1039 of a chunk of flat, which has 1000",
    ),
    "an embedding of another size": (
        spec_with(("plan", "hypernets", 0, "embedding_size"), 9),
        r"expected .*\[3, 10, 9\].*found .*\[3, 10, 8\]",
    ),
    "biases": (spec_with(("recipe", "bias"), True), "'hypernet.flat.bias' is missing"),
}


@pytest.mark.parametrize(("change", "said"), OTHERS.values(), ids=OTHERS.keys())
def test_tables_that_are_not_the_recipes_are_refused(
    change: Callable[[Any, Any], Any], said: str, ensemble: Ensemble
) -> None:
    with pytest.raises(HnexportError, match=said):
        check_described(*change(ensemble, ensemble.source.spec))


def test_a_slot_without_a_source_is_named(ensemble: Ensemble) -> None:
    with pytest.raises(BundleError, match="nothing fills the slot 'head.bias'"):
        check_described(*without("stored", -1)(ensemble, ensemble.source.spec))
