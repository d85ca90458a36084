"""What `make test` leaves to `make test-all` and CI: tests with the mark `thorough`.

Such a test is one more case of a kind that another case shows, or it takes long and what it shows is shown in small by
another. With no `-m`, pytest runs all.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

__all__ = ["COLLECTED", "each_once", "first", "further", "only"]

COLLECTED = pytest.StashKey[Sequence[pytest.Item]]()
"""Under which a run's configuration keeps every test that was found, before `-m` leaves some out."""


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """Values for `pytest.mark.parametrize`: the first `count` as they are, the others with the mark."""
    return [case if number < count else further(case) for number, case in enumerate(cases)]


def only(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Values for `pytest.mark.parametrize`: those that are `kept` as they are, the others with the mark.

    Raises:
        ValueError: what is kept is no case, or nothing is: the test as a whole then carries the mark.
    """
    listed = list(cases)
    if not kept:
        raise ValueError("no case is kept: mark the whole test with pytest.mark.thorough")
    if unknown := [case for case in kept if case not in listed]:
        raise ValueError(f"no cases: {unknown}")
    return [case if case in kept else further(case) for case in listed]


def further(case: Any) -> Any:
    """A case with the mark: one value, a tuple with a value for each name, or a `pytest.param`, which keeps its own."""
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.thorough])
    return pytest.param(*(case if type(case) in (tuple, list) else (case,)), marks=pytest.mark.thorough)


def each_once(items: Sequence[pytest.Item]) -> None:
    """Of tests with the mark `each_once`, leave so many combinations as show every value once; mark the others.

    Values that are `thorough` by themselves are not counted.
    """
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("each_once") and not item.get_closest_marker("thorough"):
            groups.setdefault(item.nodeid.split("[")[0], []).append(item)
    for group in groups.values():
        for item in _beyond(group):
            item.add_marker(pytest.mark.thorough)


def _beyond(group: Sequence[pytest.Item]) -> list[pytest.Item]:
    """What is left when, again and again, the first of those with the most new values has been taken."""
    values = {item: _values(item) for item in group}
    missing, left = set[tuple[str, int]]().union(*values.values()), list(group)
    while missing:
        best = max(left, key=lambda item: len(values[item] & missing))
        missing -= values[best]
        left.remove(best)
    return left


def _values(item: pytest.Item) -> set[tuple[str, int]]:
    """Each parameter with its value, which may have no hash: all tests of a function hold the same object."""
    params: dict[str, object] = item.callspec.params  # type: ignore[attr-defined]
    return {(name, id(value)) for name, value in params.items()}
