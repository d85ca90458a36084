"""Which cases of a matrix every run has, and which are for `make test-all`.

A case with the mark `matrix` is one more of a kind that another case shows: `make test` leaves it out, `make test-all`
and CI run it. No kind is of such cases alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

__all__ = ["each_once", "first", "only"]


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """Parameters: the first `count` of every run, the others of the matrix."""
    return [case if number < count else further(case) for number, case in enumerate(cases)]


def only(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Parameters: those that are `kept` of every run, the others of the matrix.

    Raises:
        ValueError: what is kept is no case.
    """
    listed = list(cases)
    if unknown := [case for case in kept if case not in listed]:
        raise ValueError(f"no cases: {unknown}")
    return [case if case in kept else further(case) for case in listed]


def further(case: Any) -> Any:
    """A parameter, or a tuple with one for each name, as one of the matrix."""
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.thorough])
    return pytest.param(*(case if type(case) in (tuple, list) else (case,)), marks=pytest.mark.thorough)


def each_once(items: Sequence[pytest.Item]) -> None:
    """Of the tests with the mark `each_once`, mark as the matrix what shows no new value of a parameter.

    Every run has as many combinations as show every value of every parameter once.
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
    """Each parameter with its value, which may have no hash: the tests of a run have the same object."""
    params: dict[str, object] = item.callspec.params  # type: ignore[attr-defined]
    return {(name, id(value)) for name, value in params.items()}
