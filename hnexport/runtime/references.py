"""Whether a session refers to the arrays that it was given, or has copied them: it is run before and after a change."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_changed_by"]


def is_changed_by(run: Callable[[], Sequence[NDArray[np.generic]]], arrays: Collection[NDArray[np.generic]]) -> bool:
    """Whether what `run` gives changes when the arrays do; also where that cannot be told, as of outputs of NaN.

    Args:
        run: computes the same each time; its outputs are compared.
        arrays: they are spoiled: floating-point ones are NaN afterwards, integers of 8 bits 0.
    """
    floating = [array for array in arrays if array.dtype.kind == "f"]
    before = run()
    for array in floating:
        array.fill(np.nan)
    for array in arrays:
        if array.dtype.kind == "i" and array.dtype.itemsize == 1:
            array.fill(0)
    after = run()
    known = any(array.dtype.kind == "f" and not np.isnan(array).all() for array in before)
    same = all(np.array_equal(one, other, equal_nan=True) for one, other in zip(before, after, strict=True))
    return bool(arrays) and not (floating and known and same)
