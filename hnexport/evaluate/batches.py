"""Samples that may be more than memory holds: read again for every source, some at a time."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from hnexport.spec import Signature, TensorSpec

__all__ = ["AT_ONCE_BYTES", "Batches", "Inputs", "samples_at_once"]

Inputs = Mapping[str, NDArray[Any]]

AT_ONCE_BYTES = 2**26
"""About so many bytes of inputs are in memory at once."""
_OPEN_SIZE = 256  # of an axis of any size, where nothing says how long it is


class Batches:
    """Samples in their order, as the network takes them. What fits into one batch is read once, and kept.

    Args:
        read: begins to read, from the first sample on.

    Raises:
        RuntimeInputError: the first batch cannot be read.
    """

    def __init__(self, read: Callable[[], Iterator[Inputs]]) -> None:
        self._read = read
        batches = read()
        first = [one for one in (next(batches, None),) if one is not None]
        self._all = first if next(batches, None) is None else None

    def __iter__(self) -> Iterator[Inputs]:
        return iter(self._all) if self._all is not None else self._read()


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
