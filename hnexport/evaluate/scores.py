"""How good class probabilities are: accuracy, likelihood, Brier score, calibration. NumPy in, numbers out."""

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.results import Bin, Scores

__all__ = ["calibration_error", "gain", "mean_scores", "reliability", "scores"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def scores(log_p: Floats, labels: Labels, bins: int) -> Scores:
    """The scores of one prediction.

    Everything comes from log-probabilities: a right class that a network ruled out costs what it costs, where libraries
    cut probabilities off.

    Args:
        log_p: `[row, class]`.
        labels: `[row]`, 0 to classes - 1.
    """
    p = np.exp(log_p)
    right = np.take_along_axis(p, labels[:, np.newaxis], axis=-1)[:, 0]
    likelihood = np.take_along_axis(log_p, labels[:, np.newaxis], axis=-1)[:, 0]
    squared = (p**2).sum(axis=-1) - 2 * right + 1
    return Scores(
        accuracy=float((log_p.argmax(axis=-1) == labels).mean()),
        nll=float(-likelihood.mean()),
        brier=float(squared.mean()),
        ece=calibration_error(reliability(p, labels, bins)),
    )


def reliability(p: Floats, labels: Labels, bins: int) -> tuple[Bin, ...]:
    """Rows by their confidence, in bins of equal width; what lies between two belongs to the upper one, 1 to the last.

    Args:
        p: `[row, class]`.
    """
    confidence, right = p.max(axis=-1), p.argmax(axis=-1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    shares = [
        np.bincount(place, weights=values, minlength=bins) / np.maximum(counts, 1)
        for values in (confidence, right.astype(np.float64))
    ]
    return tuple(
        Bin(low=float(low), high=float(high), count=int(count), confidence=float(sure), accuracy=float(correct))
        for low, high, count, sure, correct in zip(edges, edges[1:], counts, *shares, strict=False)
    )


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
