"""A trace: what an artifact computed on the way to its logits, for one member and one batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.parity.layers import LayerCall

__all__ = ["Trace"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """What was observed.

    Attributes:
        calls: the layers, in the order in which they ran.
        values: intermediate values by name, in the order in which they were computed.
        logits: `[batch, class]`.
    """

    calls: tuple[LayerCall, ...]
    values: Mapping[str, NDArray[np.generic]]
    logits: NDArray[np.generic]
