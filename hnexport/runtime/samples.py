"""Inputs to try a graph with, where only that it runs or that its outputs change is asked."""

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.rows import taken
from hnexport.runtime.residents import Arrays
from hnexport.spec import Signature, TensorSpec

__all__ = ["trial_inputs"]


def trial_inputs(signature: Signature, golden: Golden | None = None) -> Arrays:
    """One sample: the first golden one, or where there is none ones and, for what may be an index, zeros.

    Every open axis of a sample that is made up has size 1, which a network need not take.
    """
    if golden is not None:
        return taken(signature, golden.inputs, slice(0, 1))
    return {tensor.name: _made_up(tensor) for tensor in signature.inputs}


def _made_up(tensor: TensorSpec) -> NDArray[np.generic]:
    shape = tuple(size if isinstance(size, int) else 1 for size in tensor.shape)
    return np.full(shape, 1 if tensor.is_floating else 0, dtype=tensor.dtype)
