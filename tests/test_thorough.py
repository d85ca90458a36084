"""What `make test` leaves out is what the marks say, and every kind stays in."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from thorough import COLLECTED, each_once, first, further, only


def left_out(cases: list[Any]) -> list[bool]:
    return [
        isinstance(case, type(pytest.param())) and any(mark.name == "thorough" for mark in case.marks) for case in cases
    ]


def test_the_first_cases_stay() -> None:
    cases = first(2, ["a", "b", "c"])
    assert cases[:2] == ["a", "b"]
    assert left_out(cases) == [False, False, True]
    assert left_out(first(3, {"a": 1})) == [False]


def test_the_cases_that_are_named_stay() -> None:
    assert left_out(only(["a", "b", "c"], "c")) == [True, True, False]
    with pytest.raises(ValueError, match="no cases: \\['d'\\]"):
        only(["a"], "d")
    with pytest.raises(ValueError, match="mark the whole test"):
        only(["a"])


def test_a_case_of_several_values_keeps_them_and_its_own_marks_and_name() -> None:
    assert further(("a", 1)).values == ("a", 1)
    own = further(pytest.param("a", (1, 2), id="named", marks=pytest.mark.fuzz))
    assert (own.values, own.id) == (("a", (1, 2)), "named")
    assert [mark.name for mark in own.marks] == ["fuzz", "thorough"]


@dataclass(eq=False)
class Item:
    """As much of a test as the rule looks at."""

    nodeid: str
    params: dict[str, Any]
    marks: list[str] = field(default_factory=lambda: ["each_once"])

    @property
    def callspec(self) -> SimpleNamespace:
        return SimpleNamespace(params=self.params)

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.marks.append(mark.name)


def stay(items: list[Item]) -> list[dict[str, Any]]:
    each_once(items)  # type: ignore[arg-type]
    return [item.params for item in items if "thorough" not in item.marks]


def test_of_combinations_as_many_stay_as_show_every_value_once() -> None:
    kinds, formats = ["a", "b", "c"], [["onnx"], ["pt2"]]  # lists have no hash
    found = stay([Item(f"t[{k}-{f}]", {"kind": k, "format": f}) for f in formats for k in kinds])
    assert len(found) == 3
    assert sorted(one["kind"] for one in found) == kinds
    assert [one["format"] for one in found].count(formats[1]) == 1


def test_what_is_left_out_by_itself_shows_nothing_and_other_tests_stay_whole() -> None:
    found = stay(
        [
            Item("t[a-1]", {"kind": "a", "size": 1}, ["each_once", "thorough"]),
            Item("t[b-1]", {"kind": "b", "size": 1}),
            Item("u[a]", {"kind": "a"}, []),
            Item("u[a]", {"kind": "a"}, []),
        ]
    )
    assert found == [{"kind": "b", "size": 1}, {"kind": "a"}, {"kind": "a"}]


def test_every_test_that_is_parametrised_keeps_a_case_unless_it_says_otherwise(pytestconfig: pytest.Config) -> None:
    """A test whose cases are all left out is marked as a whole."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in pytestconfig.stash[COLLECTED]:
        if not any("thorough" in (mark.name for mark in node.own_markers) for node in item.listchain()[:-1]):
            cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    lost = [name for name, items in cases.items() if len(items) > 1 and not any(map(keeps, items))]
    assert not lost


def keeps(item: pytest.Item) -> bool:
    """Whether `make test` runs it, or its function says that it is left out."""
    of_function = getattr(item.function, "pytestmark", [])  # type: ignore[attr-defined] # what a test or a tool reaches for there
    return not item.get_closest_marker("thorough") or any(mark.name == "thorough" for mark in of_function)


def test_ci_leaves_nothing_out() -> None:
    root = Path(__file__).parents[1]
    rules = dict(re.findall(r"^(test|test-all):.*\n\t(.*)$", (root / "Makefile").read_text(), re.MULTILINE))
    assert rules == {"test": '$(PYTEST) -m "not thorough" $(TESTS)', "test-all": "$(PYTEST) $(TESTS)"}
    assert "HNEXPORT_FORBID_SKIPS=1 make test-all\n" in (root / ".ci/run").read_text()
