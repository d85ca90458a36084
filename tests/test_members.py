"""What is taken as a member's number is the same for a loaded ensemble, in PyTorch and for a pipeline."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fixture_types import MakeImages, MakePipeline, MakeSpec
from module_ensembles import ENSEMBLES
from shared import built_list

from hnexport.bundle import read_golden
from hnexport.errors import RuntimeInputError
from hnexport.members import as_id, check_member, check_members
from hnexport.runtime import load

TAKEN = {
    "an int": 2,
    "a NumPy int64": np.int64(2),
    "a NumPy uint8": np.uint8(2),
    "an array of no axis": np.array(2),
    "a tensor of no axis": torch.tensor(2),
    "an int32 tensor": torch.tensor(2, dtype=torch.int32),
}
REFUSED = {
    "a bool": True,
    "a NumPy bool": np.True_,
    "an array of a bool": np.array(True),
    "a tensor of a bool": torch.tensor(True),
    "a float": 2.0,
    "a NumPy float": np.float32(2),
    "a tensor of a float": torch.tensor(2.0),
    "text": "2",
    "bytes": b"2",
    "an array of one element": np.array([2]),
    "a tensor of one element": torch.tensor([2]),
    "a list": [2],
    "nothing": None,
}
MISSING = {"too large": 3, "negative": -1, "beyond int64": 2**70}


@pytest.fixture(scope="module")
def inputs() -> dict[Any, Any]:
    return {name: array[:1] for name, array in read_golden(built_list("reader").path).inputs.items()}


@pytest.fixture(scope="module")
def callers(
    inputs: dict[Any, Any], make_spec: MakeSpec, make_pipeline: MakePipeline, make_images: MakeImages
) -> tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]]:
    """Whoever takes one member, or several: functions of it."""
    listed, loaded = ENSEMBLES["reader"].ensemble(), load(built_list("reader").path, provider="cpu")
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    spec = make_spec()
    pipeline, images = make_pipeline(spec), make_images(spec, batch=1)
    one = {
        "loaded": lambda member: loaded.predict(inputs, member=member) if member is not None else check_member(None, 3),
        "called": lambda member: listed(member, tensors),
        "weights": listed.weights,
        "pipeline's weights": pipeline.weights,
    }
    several = {
        "loaded": lambda members: loaded.predict(inputs, members=members),
        "mean": lambda members: loaded.predict_mean(inputs, members=members),
        "pipeline": lambda members: pipeline.ensemble(members, images),
    }
    return one, several


@pytest.mark.parametrize("member", TAKEN.values(), ids=TAKEN.keys())
def test_whole_numbers_are_taken_by_all(
    callers: tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]], member: Any
) -> None:
    one, several = callers
    assert check_member(member, 3) == as_id(member) == 2
    assert type(check_member(member, 3)) is int
    for call in one.values():
        call(member)
    for call in several.values():
        call([member, 0])


@pytest.mark.parametrize("member", REFUSED.values(), ids=REFUSED.keys())
def test_whatever_else_is_refused_by_all(
    callers: tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]], member: Any
) -> None:
    one, several = callers
    for call in one.values():
        with pytest.raises(RuntimeInputError, match="is a whole number, found"):
            call(member)
    for call in several.values():
        with pytest.raises(RuntimeInputError, match="is a whole number, found"):
            call([0, member])


@pytest.mark.parametrize("member", MISSING.values(), ids=MISSING.keys())
def test_a_member_that_does_not_exist_is_refused_where_members_are_asked_for(
    callers: tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]], member: int
) -> None:
    one, several = callers
    for name in ("loaded", "weights", "pipeline's weights"):
        with pytest.raises(RuntimeInputError, match="does not exist: this ensemble has members 0 to 2"):
            one[name](member)
    for call in several.values():
        with pytest.raises(RuntimeInputError, match="does not exist: this ensemble has members 0 to 2"):
            call([member])


@pytest.mark.parametrize("member", [3, -1], ids=str)
def test_an_id_that_does_not_exist_gives_nan_where_it_is_an_input(
    callers: tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]], member: int
) -> None:
    outputs = callers[0]["called"](member)
    assert outputs["logits"].isnan().all()
    assert outputs["decoded"].isnan().all()
    assert not outputs["choice"].is_floating_point()


def test_an_id_beyond_int64_is_no_input(
    callers: tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]],
) -> None:
    with pytest.raises(RuntimeInputError, match="a condition id is an int64"):
        callers[0]["called"](2**63)


@pytest.mark.parametrize("members", [[], (), np.array([], int), torch.tensor([], dtype=torch.int64)], ids=repr)
def test_no_members_are_refused_by_all(
    callers: tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]], members: Any
) -> None:
    for call in callers[1].values():
        with pytest.raises(RuntimeInputError, match="is empty: name at least one member"):
            call(members)


@pytest.mark.parametrize("members", [1, np.array(1), torch.tensor(1), b"\0", "0"], ids=repr)
def test_what_is_no_list_is_refused_by_all(
    callers: tuple[dict[str, Callable[[Any], Any]], dict[str, Callable[[Any], Any]]], members: Any
) -> None:
    for call in callers[1].values():
        with pytest.raises(RuntimeInputError, match="must be 'all' or a list of numbers"):
            call(members)


@pytest.mark.parametrize("members", [np.array([2, 0]), torch.tensor([2, 0]), (one for one in (2, 0))], ids=type)
def test_several_may_be_any_iterable(members: Any) -> None:
    assert check_members(members, 3) == (2, 0)
