import dataclasses
import enum
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from hnexport.errors import HnexportError
from hnexport.records import RecordError, from_json, to_json


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaf:
    size: int
    ratio: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    leaf: Leaf
    colour: Colour = Colour.RED
    version: Literal[1, 2] = 1
    pair: tuple[int, str] = (1, "a")
    many: tuple[Leaf, ...] = ()
    named: Mapping[str, Leaf] = dataclasses.field(default_factory=dict)
    maybe: Leaf | None = None
    flag: bool = False
    anything: Any = None


FULL = Tree(
    leaf=Leaf(size=3, ratio=0.25),
    colour=Colour.BLUE,
    version=2,
    pair=(7, "b"),
    many=(Leaf(size=1), Leaf(size=2)),
    named={"x": Leaf(size=9)},
    maybe=Leaf(size=4),
    flag=True,
    anything={"free": [1, 2.5, None, "text"]},
)


@pytest.mark.parametrize("record", [FULL, Tree(leaf=Leaf(size=1))], ids=["every field", "defaults"])
def test_a_record_comes_back_equal_from_json_text(record: Tree) -> None:
    assert from_json(Tree, json.loads(json.dumps(to_json(record)))) == record


def test_json_holds_objects_lists_and_enum_values() -> None:
    assert to_json(FULL)["colour"] == "blue"
    assert type(to_json(FULL)["colour"]) is str
    assert to_json(FULL)["many"] == [{"size": 1, "ratio": 0.5}, {"size": 2, "ratio": 0.5}]


def test_fields_with_a_default_may_be_absent() -> None:
    assert from_json(Tree, {"leaf": {"size": 1}}) == Tree(leaf=Leaf(size=1))


def test_a_whole_number_becomes_a_float_where_a_float_is_declared() -> None:
    assert type(from_json(Leaf, {"size": 1, "ratio": 2}).ratio) is float


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"leaf": {"size": 1, "colour": 2}}, r"\$\.leaf: unknown field 'colour'; known are size, ratio"),
    "missing field": ({"leaf": {}}, r"\$\.leaf: field 'size' is missing"),
    "text for an integer": ({"leaf": {"size": "1"}}, r"\$\.leaf\.size: expected an integer, found '1'"),
    "fraction for an integer": ({"leaf": {"size": 1.0}}, r"\$\.leaf\.size: expected an integer, found 1\.0"),
    "truth for an integer": ({"leaf": {"size": True}}, r"\$\.leaf\.size: expected an integer, found True"),
    "truth for a number": ({"leaf": {"size": 1, "ratio": True}}, r"\$\.leaf\.ratio: expected a number, found True"),
    "number for truth": ({"leaf": {"size": 1}, "flag": 1}, r"\$\.flag: expected true or false, found 1"),
    "list for an object": ({"leaf": []}, r"\$\.leaf: expected an object, found \[\]"),
    "unknown choice": ({"leaf": {"size": 1}, "colour": "green"}, r"\$\.colour: expected one of 'red', 'blue', found"),
    "unknown literal": ({"leaf": {"size": 1}, "version": 3}, r"\$\.version: expected one of 1, 2, found 3"),
    "truth for a literal": ({"leaf": {"size": 1}, "version": True}, r"\$\.version: expected one of 1, 2, found True"),
    "text for a list": ({"leaf": {"size": 1}, "many": "ab"}, r"\$\.many: expected a list, found 'ab'"),
    "short pair": ({"leaf": {"size": 1}, "pair": [1]}, r"\$\.pair: expected a list of 2, found \[1\]"),
    "wrong item of a pair": ({"leaf": {"size": 1}, "pair": [1, 2]}, r"\$\.pair\[1\]: expected a string, found 2"),
    "wrong item of a list": (
        {"leaf": {"size": 1}, "many": [{"size": 1}, {"size": None}]},
        r"\$\.many\[1\]\.size: expected an integer, found None",
    ),
    "wrong value of a mapping": (
        {"leaf": {"size": 1}, "named": {"x": 3}},
        r"\$\.named\.x: expected an object, found 3",
    ),
    "wrong optional": ({"leaf": {"size": 1}, "maybe": 3}, r"\$\.maybe: expected an object, found 3"),
    "null where something is needed": ({"leaf": None}, r"\$\.leaf: expected an object, found None"),
}


@pytest.mark.parametrize(("value", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_value_that_does_not_fit_is_an_error_that_names_its_path(value: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=f"^{message}"):
        from_json(Tree, value)


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(RecordError, match=r"found 'a{70,80}\.\.\.$"):
        from_json(Leaf, {"size": "a" * 1000})


def test_a_record_error_is_one_of_ours_and_a_value_error() -> None:
    assert issubclass(RecordError, HnexportError)
    assert issubclass(RecordError, ValueError)


@pytest.mark.parametrize(
    "value", [np.zeros(2), np.float32(1), Path("x"), {1: "a"}, {3}, b"x"], ids=lambda value: type(value).__name__
)
def test_what_json_cannot_hold_is_refused_when_written(value: Any) -> None:
    with pytest.raises(TypeError, match=r"records (cannot hold|need strings as keys)"):
        to_json(Tree(leaf=Leaf(size=1), anything=value))


@pytest.mark.parametrize("kind", [complex, dict[int, str], int | float, set[int]], ids=str)
def test_a_kind_that_json_cannot_hold_is_a_programming_error(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"^\$: records cannot hold"):
        from_json(kind, {})


@pytest.mark.parametrize("value", [7, "batch"])
def test_an_axis_is_a_number_or_a_name(value: int | str) -> None:
    assert from_json(tuple[int | str, ...], [value]) == (value,)


def test_an_axis_is_nothing_else() -> None:
    with pytest.raises(RecordError, match=r"^\$\[0\]: expected an integer, found True"):
        from_json(tuple[int | str, ...], [True])
