"""The members that are kept."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from hnexport.runtime.residents import ResidentMembers


class Maker:
    """Makes a predictor that returns its member, and counts."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []

    def __call__(self, member: int, conditions: Any) -> Callable[[Any], tuple[Any, Any]]:
        self.made.append((member, *map(str, conditions)))
        return lambda images: (member, images)


def test_the_least_recently_used_member_is_dropped() -> None:
    maker = Maker()
    residents = ResidentMembers(maker, limit=2)
    for member in (0, 1, 0, 2):
        assert residents.predictor(member)("x") == (member, "x")  # type: ignore[comparison-overlap] # compared on purpose
    assert residents.members == (0, 2)
    assert maker.made == [(0,), (1,), (2,)]


def test_room_is_made_before_a_member_is() -> None:
    counts = []

    def make(member: int, _: Any) -> Callable[[Any], Any]:
        counts.append(len(residents.members))
        return lambda images: member

    residents = ResidentMembers(make, 2)
    for member in range(4):
        residents.predictor(member)
    assert counts == [0, 1, 1, 1]


def test_a_member_that_is_there_is_handed_out_while_another_is_made() -> None:
    making, go_on = threading.Event(), threading.Event()

    def make(member: int, conditions: Any) -> Callable[[Any], Any]:
        if member == 1:
            making.set()
            assert go_on.wait(10)
        return lambda images: member

    residents = ResidentMembers(make, limit=3)
    residents.predictor(0)
    thread = threading.Thread(target=residents.predictor, args=(1,))
    thread.start()
    assert making.wait(10)
    assert residents.predictor(0)(None) == 0  # type: ignore[comparison-overlap] # compared on purpose
    assert residents.members == (0,)
    go_on.set()
    thread.join()
    assert residents.members == (0, 1)  # type: ignore[comparison-overlap] # compared on purpose


def test_a_member_that_cannot_be_made_leaves_the_others_and_can_be_tried_again() -> None:
    fail = [True]

    def make(member: int, conditions: Any) -> Callable[[Any], Any]:
        if member == 1 and fail.pop():
            raise ValueError("no")
        return lambda images: member

    residents = ResidentMembers(make, limit=3)
    residents.predictor(0)
    with pytest.raises(ValueError, match="no"):
        residents.predictor(1)
    assert residents.members == (0,)
    fail.append(False)
    assert residents.predictor(1)(None) == 1  # type: ignore[comparison-overlap] # compared on purpose
