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


@pytest.mark.parametrize(
    ("func", "shapes"),
    [
        (ATEN.mm.default, [(2, 7), (7, 3)]),
        (ATEN.bmm.default, [(2, 3, 7), (2, 7, 5)]),
        (ATEN.mv.default, [(3, 7), (7,)]),
        (ATEN.dot.default, [(7,), (7,)]),
        (ATEN.addmm.default, [(3,), (2, 7), (7, 3)]),
        (ATEN.baddbmm.default, [(2, 3, 5), (2, 3, 7), (2, 7, 5)]),
        (ATEN.addmv.default, [(3,), (3, 7), (7,)]),
    ],
    ids=["mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv"],
)
def test_a_product_has_as_many_terms_as_its_factors_have_in_common(
    func: Callable[..., Any], shapes: list[tuple[int, ...]]
) -> None:
    args = tuple(torch.ones(shape) for shape in shapes)
    sums = Sums.of(func, args, {}, func(*args))
    assert sums is not None
    assert sums.terms == 7
