"""Which whole numbers a network takes: an example of zeros says nothing of a vocabulary, the network itself does."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.ensemble import Ensemble
from hnexport.parity.cost import estimated_seconds
from hnexport.parity.double import run_double, run_single
from hnexport.parity.inputs import Bounds, bounds_of
from hnexport.rows import flat_rows, relative_l2
from hnexport.spec import TensorSpec

__all__ = ["LARGEST_WHOLE", "SEARCH_SECONDS", "whole_numbers"]

LARGEST_WHOLE = 2**16
"""The largest whole number that an input is tried and probed with, unless its example has larger ones."""
SEARCH_SECONDS = 2.0
"""About what the search may take, by an estimate that is the same on every machine."""
_MOST_TRIES = 400
_MOST_COLUMNS = 32
_LOST = 1e-4  # relative L2: what float32 may lose; at twice a number that it computes badly it computes worse

Array = NDArray[np.generic]
_Takes = Callable[[int], bool]


def whole_numbers(ensemble: Ensemble, seconds: float = SEARCH_SECONDS) -> dict[str, Bounds]:
    """By input, of those of integers and booleans that have a batch, the least and the largest number of each element.

    From the example's range upwards by doubling and halving, to `LARGEST_WHOLE`, and downwards to 0 alone: one sample
    is run, filled with a number, and has to be finite where the example is, and float32 may lose no more of it. Each
    column of the last axis may take more than all together (categories of a table). Booleans are both. What the network
    does not take, or what there is no time to try, stays as the example has it.
    """
    examples = {name: tensor.numpy() for name, tensor in ensemble.examples.items()}
    signature = ensemble.signature
    asked = [item for item in signature.inputs if item.has_batch and not item.is_floating and examples[item.name].size]
    found = {item.name: bounds_of(examples[item.name]) for item in asked}
    if not asked:
        return found
    sample = {
        item.name: examples[item.name][:1] if item.has_batch else examples[item.name] for item in signature.inputs
    }
    try:
        trial = _Trial(ensemble, sample, seconds)
    except Exception:  # whatever a network raises: the reference will say it
        return found
    for item in asked:
        wider = _widened(item, found[item.name], trial)
        together = {name: most for name, (_, most) in {**found, item.name: wider}.items()}
        if trial.takes(together):
            found[item.name] = wider
    return found


class _Trial:
    """Runs one sample with other whole numbers in it, as often as there is time for."""

    def __init__(self, ensemble: Ensemble, sample: Mapping[str, Array], seconds: float) -> None:
        self._ensemble, self._double, self._sample = ensemble, ensemble.double(), sample
        self._example = run_single(ensemble, 0, sample)
        self._lost = self._losses(self._example, sample)
        each = 2 * estimated_seconds(ensemble, 0, sample)
        self._left = min(_MOST_TRIES, int(seconds / max(each, 1e-9)))

    def takes(self, numbers: Mapping[str, Any]) -> bool:
        """Whether the network takes the sample with these numbers in these inputs; no where there is no time left."""
        if self._left <= 0:
            return False
        self._left -= 1
        changed = {
            name: np.broadcast_to(numbers[name], array.shape).astype(array.dtype) if name in numbers else array
            for name, array in self._sample.items()
        }
        try:
            found = run_single(self._ensemble, 0, changed)
            if any(not _as_finite(found[name], array) for name, array in self._example.items()):
                return False
            lost = self._losses(found, changed)
        except Exception:  # whatever a network raises
            return False
        return all(loss <= max(_LOST, 2 * self._lost[name]) for name, loss in lost.items())

    def _losses(self, single: Mapping[str, Array], sample: Mapping[str, Array]) -> dict[str, float]:
        """By output what float32 loses; 0 where that is not known."""
        exact, signature = run_double(self._double, 0, sample), self._ensemble.signature
        return {
            output.name: _worst(flat_rows(output, single[output.name]), flat_rows(output, exact[output.name]))
            for output in signature.outputs
            if output.is_floating
        }


def _worst(single: Array, exact: Array) -> float:
    errors = relative_l2(single, exact)
    return float(errors[np.isfinite(errors)].max(initial=0.0))


def _as_finite(found: Array, example: Array) -> bool:
    if found.dtype.kind != "f":
        return True
    return found.shape == example.shape and bool((np.isfinite(found) | ~np.isfinite(example)).all())


def _widened(item: TensorSpec, bounds: Bounds, trial: _Trial) -> Bounds:
    """The bounds of an input, the others as the example has them."""
    least, most = int(bounds[0].min()), int(bounds[1].max())
    if item.dtype == "bool":
        mixed = np.arange(bounds[0].size).reshape(bounds[0].shape) % 2
        both = all(trial.takes({item.name: numbers}) for numbers in (mixed, 1 - mixed))
        return (np.zeros_like(bounds[0]), np.ones_like(bounds[1])) if both else bounds
    end = min(LARGEST_WHOLE, np.iinfo(item.dtype).max)
    most = _largest(lambda number: trial.takes({item.name: number}), most, end)
    if least > 0:
        least = -_largest(lambda number: trial.takes({item.name: -number}), -least, 0)
    lower, upper = np.full_like(bounds[0], least), np.full_like(bounds[1], most)
    columns = lower.shape[-1] if lower.ndim and not isinstance(item.row[-1], str) else 0
    if 1 < columns <= _MOST_COLUMNS:
        for column in range(columns):
            upper[..., column] = _largest(_in_column(trial, item.name, upper, column), most, end)
    return lower, upper


def _in_column(trial: _Trial, name: str, upper: Array, column: int) -> _Takes:
    def takes(number: int) -> bool:
        changed = upper.copy()
        changed[..., column] = number
        return trial.takes({name: changed})

    return takes


def _largest(takes: _Takes, known: int, end: int) -> int:
    """The largest number to `end` that is taken: one more, two more, four more …, and halving back."""
    step, refused = 1, end + 1
    while known < end:
        number = min(known + step, end, refused - 1)
        if number <= known:
            break
        if takes(number):
            known, step = number, 2 * step if refused > end else max(step // 2, 1)
        else:
            refused, step = number, max(step // 2, 1)
    return known
