"""Samples that may be more than memory holds: read again for every source, some at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hnexport.images import AppliedNormalisation, read_images
from hnexport.spec.images import ImageInput

__all__ = ["Batch", "Batches", "Inputs", "picture_batch"]

Inputs = Mapping[str, NDArray[Any]]


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
