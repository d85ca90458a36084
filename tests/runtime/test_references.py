"""A session that copied its arrays stays as it is when they change; one that refers to them does not."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from hnexport.runtime.references import is_changed_by

Run = Callable[[NDArray[np.float32]], Callable[[], list[NDArray[np.float32]]]]


def copying(array: NDArray[np.float32]) -> Callable[[], list[NDArray[np.float32]]]:
    held = array.copy()
    return lambda: [held * 2]


def referring(array: NDArray[np.float32]) -> Callable[[], list[NDArray[np.float32]]]:
    return lambda: [array * 2]


def answering_nan(array: NDArray[np.float32]) -> Callable[[], list[NDArray[np.float32]]]:
    return lambda: [np.full(2, np.nan, np.float32)]


@pytest.mark.parametrize(("make", "changed"), [(copying, False), (referring, True), (answering_nan, True)])
def test_what_refers_to_its_arrays_is_told_from_what_copied_them(make: Run, changed: bool) -> None:
    array = np.ones(2, np.float32)
    assert is_changed_by(make(array), [array]) is changed
    assert np.isnan(array).all()


def test_nothing_given_changes_nothing() -> None:
    assert not is_changed_by(lambda: [np.ones(2, np.float32)], [])
