"""Samples and rows: which part of inputs and outputs belongs to which sample."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.spec import BATCH, Signature, TensorSpec

__all__ = ["batch_size", "chosen_rows", "flat_rows", "shortened", "taken"]

Array = NDArray[np.generic]

_LEAST_PLACES = 3


def batch_size(signature: Signature, inputs: Mapping[str, Array]) -> int:
    """How many samples these inputs are: one where none has a batch axis."""
    return next((len(inputs[item.name]) for item in signature.inputs if item.has_batch), 1)


def taken(signature: Signature, inputs: Mapping[str, Array], rows: Sequence[int] | slice) -> dict[str, Array]:
    """Some samples of every input, in this order; an input without a batch axis stays as it is."""
    return {item.name: inputs[item.name][rows] if item.has_batch else inputs[item.name] for item in signature.inputs}


def shortened(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
    """The inputs without the last place of every axis of any size but the batch; None where there is none to leave out.

    An axis stays where an input has fewer than three places along it.
    """
    places: dict[str, list[tuple[str, int]]] = {}
    for item in signature.inputs:
        for number, size in enumerate(item.shape):
            if isinstance(size, str) and size != BATCH:
                places.setdefault(size, []).append((item.name, number))
    found = dict(inputs)
    for held in places.values():
        if min(inputs[name].shape[axis] for name, axis in held) >= _LEAST_PLACES:
            for name, axis in held:
                found[name] = np.ascontiguousarray(np.take(found[name], range(found[name].shape[axis] - 1), axis))
    changed = any(found[name].shape != array.shape for name, array in inputs.items())
    return found if changed else None


def chosen_rows(output: TensorSpec, known: Array, rows: Sequence[int] | slice) -> Array:
    """The reference of some samples; an output without a batch axis is of all of them together."""
    return known[rows] if output.has_batch else known


def flat_rows(output: TensorSpec, array: Array) -> Array:
    """`[row, element]`: a row for each sample, one in all where the output has no batch axis."""
    if not output.has_batch:
        return array.reshape(1, -1)
    return array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)
