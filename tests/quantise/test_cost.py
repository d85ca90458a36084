"""What fewer bits cost is counted in numbers of any size, and nothing that is not a number passes."""

import math

import numpy as np
import pytest

from hnexport.errors import RuntimeInputError
from hnexport.parity.rounding import check_measurable
from hnexport.quantise.cost import Budget, ensemble_cost, member_cost
from hnexport.quantise.options import Int8Options
from hnexport.spec import BasisDtype, OutputKind, OutputSpec

LOGITS = OutputSpec(name="logits", dtype="float32", shape=("batch", 3), kind=OutputKind.LOGITS, axis=1)
EXACT = np.array([[1, 2, 3], [3, 1, 2]], np.float32)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_the_cost_is_the_same_whatever_the_size_of_outputs(size: float) -> None:
    exact = EXACT * np.float32(size)
    cost = member_cost(exact, exact * np.float32(1.1), LOGITS, None)
    assert cost.relative_l2 == pytest.approx(0.1, rel=1e-3)


def test_outputs_that_are_no_numbers_never_agree() -> None:
    found = EXACT.copy()
    found[1] = np.nan  # argmax says 0, which is float32's answer
    cost = member_cost(EXACT, found, LOGITS, np.array([2, 0]))
    assert (cost.relative_l2, cost.agreement, cost.accuracy, cost.accuracy_float32) == (math.inf, 0.5, 0.5, 1.0)
    assert ensemble_cost([EXACT, EXACT], [EXACT, found], LOGITS, None).agreement == 0.5


def test_a_class_that_is_masked_costs_nothing() -> None:
    exact = EXACT.copy()
    exact[:, 1] = -np.inf
    assert member_cost(exact, exact, LOGITS, None).relative_l2 == 0.0
    assert member_cost(exact, EXACT, LOGITS, None).relative_l2 == math.inf


def test_a_limit_that_nothing_is_over_is_refused() -> None:
    for said in ({"accuracy_drop": math.nan}, {"agreement": math.nan}, {"agreement": "0.9"}, {"accuracy_drop": True}):
        with pytest.raises(RuntimeInputError, match="must be a number"):
            Budget(**said)
    with pytest.raises(ValueError, match="is a number from 0"):
        check_measurable((), BasisDtype.INT8, (math.nan,))
    with pytest.raises(RuntimeInputError, match="samples must be a whole number from 1"):
        Int8Options(samples=0)
