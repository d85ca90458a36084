"""Intervals of what differs between two answers to the same images: the images are drawn again, each with both answers.

What is asked is always a function of means over images: the difference of two accuracies is the mean of what each image
adds to it, and a calibration error the sum of the sizes of such means, one for each bin. So one matrix of how often
each image was drawn serves every question, and all questions are asked of the same draws.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.scores import Scored, bin_places

__all__ = ["BINS", "Bootstrap", "Interval", "calibration", "calibration_difference", "mean"]

Floats = NDArray[np.float64]

BINS = 15  # of a calibration error, as `hnexport evaluate` has them
_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What the images show, and between what it lies in so many of the draws as asked for (percentiles)."""

    found: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Draws of `rows` images of as many, with replacement.

    Attributes:
        level: share of the draws between the ends of an interval.
    """

    rows: int
    draws: int = 10_000
    level: float = 0.95
    seed: int = 0

    def interval(self, columns: Floats, of_means: Callable[[Floats], Floats]) -> Interval:
        """The interval of a function of means over images.

        Args:
            columns: `[row, column]`.
            of_means: from means `[…, column]` to `[…]`.
        """
        drawn = np.concatenate([of_means(counts @ columns / self.rows) for counts in self._counts()])
        ends = np.quantile(drawn, [(1 - self.level) / 2, (1 + self.level) / 2])
        found = of_means(columns.mean(axis=0))
        return Interval(found=float(found), low=float(ends[0]), high=float(ends[1]))

    def _counts(self) -> Iterator[Floats]:
        """How often each image was drawn, `[draw, row]`, some draws at a time."""
        counts = _drawn(self.rows, self.draws, self.seed)
        return (counts[start : start + _AT_ONCE].astype(np.float64) for start in range(0, self.draws, _AT_ONCE))


@functools.lru_cache(maxsize=2)
def _drawn(rows: int, draws: int, seed: int) -> NDArray[np.uint16]:
    random, counts = np.random.default_rng(seed), np.empty((draws, rows), np.uint16)
    for one in counts:
        one[:] = np.bincount(random.integers(0, rows, rows), minlength=rows)
    return counts


def mean(means: Floats) -> Floats:
    """Of one column: its mean."""
    return means[..., 0]


def calibration(rows: Scored) -> Floats:
    """Columns `[row, bin]`, the sizes of whose means add up to the calibration error.

    A bin's share of the rows times the distance between its confidence and accuracy is the mean over all rows of
    confidence minus right, counted in this bin alone.
    """
    columns = np.zeros((len(rows.right), BINS))
    columns[np.arange(len(columns)), bin_places(rows.confidence, BINS)] = rows.confidence - rows.right
    return columns


def calibration_difference(means: Floats) -> Floats:
    """Of the columns of one answer and then of another: the first one's calibration error minus the other's."""
    sizes = np.abs(means)
    return np.asarray(sizes[..., :BINS].sum(axis=-1) - sizes[..., BINS:].sum(axis=-1))
