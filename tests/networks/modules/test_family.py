"""What a manifest says of a list of modules, and the generator over stored tensors."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from module_ensembles import ENSEMBLES

from hnexport.ensemble import Ensemble
from hnexport.errors import BundleError, CheckpointError
from hnexport.families import MODULES, family
from hnexport.names import GUARD
from hnexport.networks.modules.family import check, check_described, generator
from hnexport.spec import StoredKind


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return ENSEMBLES["transformer"].ensemble()


def test_the_family_is_known_by_its_name(ensemble: Ensemble) -> None:
    assert ensemble.source.family == MODULES
    assert family(MODULES).described(ensemble.source.spec) is None
    check(ensemble.source.spec, 0)


def test_a_specification_is_refused() -> None:
    with pytest.raises(BundleError, match="expected none for a list of modules, found"):
        check({"network": "wrn-28-10"}, 10)


def test_the_generator_comes_again_from_the_stored_tensors(ensemble: Ensemble) -> None:
    again = generator(ensemble, {}, ensemble.tensors)
    for member in (0, 4, 5, -1):
        expected, found = ensemble.generator(torch.tensor(member)), again(torch.tensor(member))
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected if name != GUARD)
        assert bool(found[GUARD].isnan().all()) == (member in (5, -1))
        assert found[GUARD].shape == (1,)


def without_first(tensors: dict[str, Any]) -> dict[str, Any]:
    return dict(list(tensors.items())[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_first, "is missing"),
        (lambda tensors: {**tensors, "other": torch.zeros(1)}, "tensor other is not one of this ensemble's"),
        (
            lambda tensors: {name: tensor.double() for name, tensor in tensors.items()},
            "expected float32 .* found float64",
        ),
        (lambda tensors: {name: tensor[None] for name, tensor in tensors.items()}, "expected float32 .* found float32"),
    ],
    ids=["missing", "unknown", "dtype", "shape"],
)
def test_a_generator_takes_no_other_tensors(ensemble: Ensemble, change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        generator(ensemble, {}, change(ensemble.tensors))


def edited(table: str, position: int, **changes: Any) -> Callable[[Ensemble], Ensemble]:
    def edit(ensemble: Ensemble) -> Ensemble:
        items = list(getattr(ensemble, table))
        items[position] = dataclasses.replace(items[position], **changes)
        return dataclasses.replace(ensemble, **{table: tuple(items)})

    return edit


def dropped(table: str) -> Callable[[Ensemble], Ensemble]:
    return lambda ensemble: dataclasses.replace(ensemble, **{table: getattr(ensemble, table)[1:]})


CONTRADICTIONS: dict[str, Callable[[Ensemble], Ensemble]] = {
    "a slot that nothing fills": dropped("stored"),
    "a tensor that fills no slot": dropped("slots"),
    "another name": edited("stored", 0, name="member.other"),
    "another shape": edited("stored", 0, shape=(5, 1)),
    "another dtype": edited("stored", 0, dtype="float64"),
    "another kind": edited("stored", 0, kind=StoredKind.SHARED),
    "a hypernetwork": edited("stored", 0, hypernet="h"),
    "no slot": edited("stored", 0, slot=None),
    "the slot of another": edited("stored", 1, slot="position"),
    "a slot of another shape": edited("slots", 0, shape=(1,)),
    "an alias of nothing": edited("slots", 0, alias_of="nothing"),
    "more members": lambda ensemble: dataclasses.replace(ensemble, members=6),
}


@pytest.mark.parametrize("edit", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_tables_that_contradict_each_other_are_refused(
    ensemble: Ensemble, edit: Callable[[Ensemble], Ensemble]
) -> None:
    check_described(ensemble, {})
    with pytest.raises(BundleError, match=r"^\$\.(slots|stored): "):
        check_described(edit(ensemble), {})


def test_the_family_is_read_without_torch() -> None:
    code = "import sys, hnexport.networks.modules.family, hnexport.spec.kinds; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
