"""The first golden samples as a batch that an artifact runs."""

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.parity.limits import FULL, Limits
from hnexport.spec import Signature

__all__ = ["first_samples"]

Array = NDArray[np.generic]


def first_samples(signature: Signature, golden: Golden, count: int, limits: Limits = FULL) -> dict[str, Array]:
    """The inputs by name: the smallest batch that the artifact runs and that starts with so many samples, repeated.

    An input without a batch axis has its one value.
    """
    size = limits.size_for(min(count, golden.samples))
    rows = np.arange(size) % min(count, golden.samples)
    return {
        item.name: golden.inputs[item.name][rows] if item.has_batch else golden.inputs[item.name]
        for item in signature.inputs
    }
