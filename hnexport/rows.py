"""Samples and rows: which part of inputs and outputs belongs to which sample, and how far rows are apart.

One sample's share of an output is a row, whatever axes it has.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.spec import Signature, TensorSpec

__all__ = [
    "LARGEST_NOISE",
    "MOST_EXCUSED", "NOISE_MULTIPLE", "batch_size", "chosen_rows", "flat_rows", "relative_l2", "row_errors", "taken"]

Array = NDArray[np.generic]

NOISE_MULTIPLE = 4.0
"""An ill-conditioned row may be off by so many times what the arithmetic may lose on it by chance: a chance that is
measured by a few draws is known to within a factor of two, and kernels that sum in blocks lose up to twice as much."""
LARGEST_NOISE = 1e30
"""Stands for rows of which nothing can be known: what is lost is not finite, or the row is zero."""
MOST_EXCUSED = 1e-2
"""Of a row that may be off by more than this share of itself by chance nothing can be said in float32: the smallest
mistakes cost a hundredth of that, and whoever writes golden samples can write any noise."""


def batch_size(signature: Signature, inputs: Mapping[str, Array]) -> int:
    """How many samples these inputs are: one where none has a batch axis."""
    return next((len(inputs[item.name]) for item in signature.inputs if item.has_batch), 1)


def taken(signature: Signature, inputs: Mapping[str, Array], rows: Sequence[int] | slice) -> dict[str, Array]:
    """Some samples of every input, in this order; an input without a batch axis stays as it is."""
    return {item.name: inputs[item.name][rows] if item.has_batch else inputs[item.name] for item in signature.inputs}


def chosen_rows(output: TensorSpec, known: Array, rows: Sequence[int] | slice) -> Array:
    """The reference of some samples; an output without a batch axis is of all of them together."""
    return known[rows] if output.has_batch else known


def flat_rows(output: TensorSpec, array: Array) -> Array:
    """`[row, element]`: a row for each sample, one in all where the output has no batch axis."""
    if not output.has_batch:
        return array.reshape(1, -1)
    return array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)


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
