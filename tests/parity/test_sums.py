"""What a sum over equal terms loses is no chance: an even image drifts in every kernel that adds term after term."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hnexport.parity.sums import Sums

ATEN = torch.ops.aten
EVEN = torch.full((2, 3, 160, 160), 0.3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("func", "args", "least"),
    [
        (ATEN.sum.dim_IntList, (EVEN, [2, 3]), 2.8e-5),  # what onnxruntime 1.31 loses
        (ATEN.mean.dim, (EVEN, [-1, -2], True), 2.8e-5),
        (ATEN.cumsum.default, (EVEN[:, 0, :20].reshape(2, -1)[:, :400], 1), 3e-6),
    ],
    ids=["sum", "mean", "cumsum"],
)
def test_the_drift_of_equal_terms_is_in_the_noise(
    func: Callable[..., Any], args: tuple[Any, ...], least: float
) -> None:
    result = func(*args)
    sums = Sums.of(func, args, {}, result)
    assert sums is not None
    sizes = sums.sizes(result)
    assert sizes.shape == result.shape
    assert least / 2 < float((sizes / result.abs()).max()) * 2.0**-24 < 4 * least
