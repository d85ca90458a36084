"""What the contenders are timed with: batches of any size, of samples that are given, or drawn."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.rows import batch_size, taken
from hnexport.spec import Signature, TensorSpec

__all__ = ["draw_inputs", "draw_samples"]


def draw_inputs(
    signature: Signature, golden: Golden, batch: int, random: np.random.Generator
) -> dict[str, NDArray[np.generic]]:
    """One batch of samples by name; an input without a batch axis is the golden one.

    Floats are between the smallest and the largest golden one, whole numbers among those between them: an index stays
    within its table.
    """
    return {tensor.name: _drawn(tensor, golden.inputs[tensor.name], batch, random) for tensor in signature.inputs}


def draw_samples(
    signature: Signature, samples: Mapping[str, NDArray[np.generic]], batch: int, random: np.random.Generator
) -> dict[str, NDArray[np.generic]]:
    """One batch of given samples, each as often as chance has it."""
    return taken(signature, samples, random.integers(0, batch_size(signature, samples), batch).tolist())


def _drawn(
    tensor: TensorSpec, known: NDArray[np.generic], batch: int, random: np.random.Generator
) -> NDArray[np.generic]:
    if not tensor.has_batch:
        return known
    shape = (batch, *known.shape[1:])
    if not known.size:
        return np.zeros(shape, dtype=known.dtype)
    if known.dtype.kind == "b":
        return np.asarray(random.random(shape) < known.astype(np.float64).mean())
    low, high = known.min(), known.max()
    if known.dtype.kind in "iu":
        return random.integers(low, high, shape, dtype=known.dtype.type, endpoint=True)
    return random.uniform(float(low), float(high), shape).astype(known.dtype)
