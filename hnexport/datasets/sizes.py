"""How many samples are in memory at once."""

import math
from collections.abc import Mapping

from hnexport.spec import Signature, TensorSpec

__all__ = ["AT_ONCE_BYTES", "samples_at_once"]

AT_ONCE_BYTES = 2**26
"""About so many bytes of inputs are in memory at once."""
_OPEN_SIZE = 256  # of an axis of any size, where nothing says how long it is


def samples_at_once(signature: Signature, shapes: Mapping[str, tuple[int, ...]] | None = None) -> int:
    """How many samples make a batch of about `AT_ONCE_BYTES`.

    Args:
        shapes: of the inputs, where they are known; a size that nobody says is taken for 256.
    """
    sizes = sum(_row_bytes(item, (shapes or {}).get(item.name)) for item in signature.inputs if item.has_batch)
    return max(1, AT_ONCE_BYTES // max(sizes, 1))


def _row_bytes(item: TensorSpec, shape: tuple[int, ...] | None) -> int:
    row = item.row if shape is None else shape[1:]
    return item.itemsize * math.prod(_OPEN_SIZE if isinstance(size, str) else size for size in row)
