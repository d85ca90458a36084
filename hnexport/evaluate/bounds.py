"""How large a share, or a calibration error, may be beside what some rows show of it."""

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.scores import Scored, bin_places

__all__ = ["Resamples", "enough_rows", "share_above", "share_below"]

_HALVINGS = 60
_RESAMPLES = 1000


def share_above(count: int, rows: int, risk: float) -> float:
    """The largest share of which `count` or fewer of `rows` have at least the probability `risk`.

    Clopper and Pearson's bound (1934), exact for any number of rows: whatever the share is, it is above this with at
    most the probability `risk`.
    """
    return 1.0 if count >= rows else _share(count, rows, risk)


def share_below(count: int, rows: int, risk: float) -> float:
    """The smallest share of which `count` or more of `rows` have at least the probability `risk`; likewise."""
    return 0.0 if count <= 0 else _share(count - 1, rows, 1.0 - risk)


def enough_rows(share: float, risk: float) -> int:
    """The fewest rows of which none shows that a share is at most this."""
    return int(np.ceil(np.log(risk) / np.log1p(-share)))


def _share(count: int, rows: int, probability: float) -> float:
    """The share of which at most `count` of `rows` have that probability: it falls with the share."""
    found = np.arange(1, count + 1)
    choices = np.concatenate([[0.0], np.cumsum(np.log((rows - found + 1) / found))])
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        each = choices + np.arange(count + 1) * np.log(middle) + (rows - np.arange(count + 1)) * np.log1p(-middle)
        low, high = (middle, high) if np.exp(each).sum() >= probability else (low, middle)
    return high


class Resamples:
    """A paired bootstrap: how often each row is in each of a thousand drawings of as many rows, with a fixed seed.

    It knows only what the rows show: of few rows, less than there may be.
    """

    def __init__(self, rows: int) -> None:
        random = np.random.default_rng(0)
        self._drawn = np.empty((_RESAMPLES, rows), np.uint8)
        for drawn in self._drawn:
            drawn[:] = np.minimum(np.bincount(random.integers(0, rows, rows), minlength=rows), 255)

    def calibration_rise(self, found: Scored, reference: Scored, bins: int, risk: float) -> float:
        """By how much the calibration error of rows is above that of others, at the quantile 1 - `risk`."""
        gaps = np.concatenate([_gaps(one, bins) for one in (found, reference)], axis=-1)
        rows = len(gaps)
        each = [np.abs(part.astype(np.float64) @ gaps) for part in np.array_split(self._drawn, 1 + rows // 1000)]
        errors = np.concatenate(each).reshape(_RESAMPLES, 2, bins).sum(axis=-1) / rows
        return float(np.quantile(errors[:, 0] - errors[:, 1], 1.0 - risk))


def _gaps(scored: Scored, bins: int) -> NDArray[np.float64]:
    """`[row, bin]`: by how much a row is surer than right, in its own bin."""
    found = np.zeros((len(scored.right), bins))
    found[np.arange(len(found)), bin_places(scored.confidence, bins)] = scored.confidence - scored.right
    return found
