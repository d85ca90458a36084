"""Samples that may be more than memory holds: read again for every source, some at a time."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hnexport.images import AppliedNormalisation, read_images
from hnexport.spec import Signature, TensorSpec
from hnexport.spec.images import ImageInput

__all__ = ["AT_ONCE_BYTES", "Batch", "Batches", "Inputs", "picture_batch", "samples_at_once"]

Inputs = Mapping[str, NDArray[Any]]

AT_ONCE_BYTES = 2**26
"""About so many bytes of inputs are in memory at once."""
_OPEN_SIZE = 256  # of an axis of any size, where nothing says how long it is


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Some samples.

    Attributes:
        inputs: by name, as the network takes them.
        normalised: how pictures among them were; None where there are none.
    """

    inputs: Inputs
    normalised: AppliedNormalisation | None = None


def picture_batch(files: Sequence[Path], image: ImageInput, pictures: Mapping[str, Any]) -> Batch:
    """Files of pictures, and of arrays, as one batch."""
    found = read_images(files, image, **pictures)
    applied = next((one for one in found.normalised if one is not None), None)
    return Batch(inputs={image.tensor.name: found.images}, normalised=applied)


class Batches:
    """Samples in their order, some at a time. What fits into one batch is read once, and kept.

    Args:
        read: begins to read, from the first sample on.
        normalised: how pictures in any batch are; None where that of the first batch is that of all.

    Attributes:
        normalised: how pictures among the samples are; None where there are none.

    Raises:
        RuntimeInputError: the first batch cannot be read.
    """

    def __init__(self, read: Callable[[], Iterator[Batch]], normalised: AppliedNormalisation | None = None) -> None:
        self._read = read
        batches = read()
        first = next(batches, None)
        self.normalised = normalised if normalised or first is None else first.normalised
        more = first is not None and next(batches, None) is not None
        self._all = None if more or first is None else (first,)

    def __iter__(self) -> Iterator[Inputs]:
        return (batch.inputs for batch in self._all or self._read())


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
