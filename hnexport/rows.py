"""How far rows are apart: one sample's share of an output is a row, whatever axes it has."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOISE_MULTIPLE", "relative_l2", "row_errors"]

Array = NDArray[np.generic]

NOISE_MULTIPLE = 4.0
"""An ill-conditioned row may be off by so many times what the arithmetic may lose on it by chance: a chance that is
measured by a few draws is known to within a factor of two, and kernels that sum in blocks lose up to twice as much."""


def relative_l2(found: Array, reference: Array) -> NDArray[np.float64]:
    """|found - reference| / |reference| along the last axis, in float64; infinite where `found` is not finite.

    Args:
        found: `[…, element]`.
        reference: likewise, finite. Where it is all zero, only zeros are without error.
    """
    known = np.asarray(reference, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.linalg.norm(np.asarray(found, dtype=np.float64) - known, axis=-1)
        error = difference / np.maximum(np.linalg.norm(known, axis=-1), np.finfo(np.float64).tiny)
    return np.where(np.isfinite(error), error, np.inf)


def row_errors(found: Array, reference: Array, leading: int = 1) -> NDArray[np.float64]:
    """`relative_l2` of each row: all but the first `leading` axes are flattened.

    Args:
        found: `[sample, …]`.
        reference: of the same shape.
    """
    flat = [array.reshape(*array.shape[:leading], -1) for array in (found, reference)]
    return relative_l2(*flat)
