"""How good class probabilities are: accuracy, likelihood, Brier score, calibration. NumPy in, numbers out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.measures import Bin, Scores

__all__ = [
    "Scored",
    "bin_places",
    "calibration_error",
    "gain",
    "joined",
    "mean_scores",
    "reliability",
    "row_blocks",
    "scored",
    "scores",
]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


_NUMBERS_AT_ONCE = 2**20


def row_blocks(logits: NDArray[np.floating]) -> Iterator[slice]:
    """The rows of `[member, row, class]`, as many at a time as make about a million numbers."""
    members, rows, classes = logits.shape
    size = max(1, _NUMBERS_AT_ONCE // max(1, members * classes))
    return (slice(start, start + size) for start in range(0, rows, size))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What scores are made of, `[…, row]` each: the classes are gone.

    Attributes:
        likelihood: log-probability of the right class.
        squared: squared distance between the probabilities and the right class.
        confidence: the largest probability.
        right: whether it is that of the right class.
    """

    likelihood: Floats
    squared: Floats
    confidence: Floats
    right: NDArray[np.bool_]

    def of(self, member: int) -> "Scored":
        """Of one member, where there are several."""
        return Scored(**{name: values[member] for name, values in vars(self).items()})

    @property
    def flat(self) -> "Scored":
        """Of all members together."""
        return Scored(**{name: values.reshape(-1) for name, values in vars(self).items()})


def scored(log_p: Floats, labels: Labels) -> Scored:
    """Each row of log-probabilities `[…, row, class]` against the right classes `[row]`.

    Everything comes from log-probabilities: a right class that a network ruled out costs what it costs, where libraries
    cut probabilities off.
    """
    p, right = np.exp(log_p), np.broadcast_to(labels[:, np.newaxis], (*log_p.shape[:-1], 1))
    probability = np.take_along_axis(p, right, axis=-1)[..., 0]
    return Scored(
        likelihood=np.take_along_axis(log_p, right, axis=-1)[..., 0],
        squared=(p**2).sum(axis=-1) - 2 * probability + 1,
        confidence=p.max(axis=-1),
        right=log_p.argmax(axis=-1) == labels,
    )


def joined(parts: Sequence[Scored]) -> Scored:
    """One after the other, along the rows."""
    return Scored(**{name: np.concatenate([vars(part)[name] for part in parts], axis=-1) for name in vars(parts[0])})


def scores(rows: Scored, bins: int) -> Scores:
    """The scores of one prediction's rows."""
    return Scores(
        accuracy=float(rows.right.mean()),
        nll=float(-rows.likelihood.mean()),
        brier=float(rows.squared.mean()),
        ece=calibration_error(reliability(rows, bins)),
    )


def reliability(rows: Scored, bins: int) -> tuple[Bin, ...]:
    """Rows by their confidence, in bins of equal width; a boundary belongs to the upper one, 1 to the last."""
    edges, place = np.linspace(0.0, 1.0, bins + 1), bin_places(rows.confidence, bins)
    counts = np.bincount(place, minlength=bins)
    shares = [
        np.bincount(place, weights=values, minlength=bins) / np.maximum(counts, 1)
        for values in (rows.confidence, rows.right.astype(np.float64))
    ]
    return tuple(
        Bin(low=float(low), high=float(high), count=int(count), confidence=float(sure), accuracy=float(correct))
        for low, high, count, sure, correct in zip(edges, edges[1:], counts, *shares, strict=False)
    )


def bin_places(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """`[row]`: the bin, of equal width, that each row is in."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance between confidence and accuracy, each bin by how many rows it has."""
    rows = sum(one.count for one in bins)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / rows


def mean_scores(each: tuple[Scores, ...]) -> Scores:
    """The mean of each score."""
    found = np.mean([[one.accuracy, one.nll, one.brier, one.ece] for one in each], axis=0).tolist()
    return Scores(accuracy=found[0], nll=found[1], brier=found[2], ece=found[3])


def gain(ensemble: Scores, mean: Scores) -> Scores:
    """By how much the ensemble is better than its members are on average."""
    return Scores(
        accuracy=ensemble.accuracy - mean.accuracy,
        nll=mean.nll - ensemble.nll,
        brier=mean.brier - ensemble.brier,
        ece=mean.ece - ensemble.ece,
    )
