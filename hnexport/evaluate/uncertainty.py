"""What an ensemble's uncertainty is good for: to find what does not belong, and to keep silent in time."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.measures import Coverage, Diversity, Histogram, Separation
from hnexport.runtime.uncertainty import EnsemblePrediction

__all__ = ["area_under_roc", "coverage", "diversity", "histogram", "row_diversity", "separation", "uncertainties"]

Floats = NDArray[np.float64]
_CURVE_POINTS = 101
_BARS = 30


def uncertainties(prediction: EnsemblePrediction) -> dict[str, Floats]:
    """By name `[row]`, larger where the ensemble is less sure.

    `entropy` of the mean prediction; `mutual_information` between prediction and member, how much the members disagree;
    `confidence`, 1 minus the largest mean probability.
    """
    return {
        "entropy": prediction.predictive_entropy,
        "mutual_information": prediction.mutual_information,
        "confidence": 1.0 - prediction.probabilities.max(axis=-1),
    }


def row_diversity(prediction: EnsemblePrediction, labels: NDArray[np.int64]) -> dict[str, Floats]:
    """Of each row: how many of the pairs agree, whether all do, and whether at least one member is right."""
    members, votes = len(prediction.members), prediction.votes
    pairs = members * (members - 1) / 2
    right = np.take_along_axis(votes, labels[:, np.newaxis], axis=-1)[:, 0]
    return {
        "agreeing": (votes * (votes - 1) / 2).sum(axis=-1) / pairs if pairs else np.ones(len(votes)),
        "all": (votes.max(axis=-1) == members).astype(np.float64),
        "any": (right > 0).astype(np.float64),
    }


def diversity(rows: Mapping[str, Floats], mutual_information: Floats) -> Diversity:
    """How different the members' answers are; of one member alone, not at all.

    Args:
        rows: as `row_diversity` has them.
        mutual_information: `[row]`.
    """
    return Diversity(
        disagreement=float(1.0 - rows["agreeing"].mean()),
        all_agree=float(rows["all"].mean()),
        any_right=float(rows["any"].mean()),
        mutual_information=float(mutual_information.mean()),
    )


def separation(should: Floats, should_not: Floats) -> Separation | None:
    """How well a number tells those that should have more of it from those that should not; None where either lacks."""
    if not len(should) or not len(should_not):
        return None
    from sklearn.metrics import roc_curve

    truth = np.concatenate([np.ones(len(should), np.int64), np.zeros(len(should_not), np.int64)])
    values = np.concatenate([should, should_not])
    every_false, every_true, _ = roc_curve(truth, values, drop_intermediate=False)
    false, true, _ = roc_curve(truth, values, drop_intermediate=True)  # without thresholds that lie on a straight line
    at = np.linspace(0.0, 1.0, _CURVE_POINTS) ** 2 if len(false) > _CURVE_POINTS else None
    return Separation(
        auroc=area_under_roc(should, should_not),
        fpr95=float(every_false[np.searchsorted(every_true, 0.95)]),
        false_positive=tuple((false if at is None else at).tolist()),
        true_positive=tuple((true if at is None else np.interp(at, false, true) * (at > 0)).tolist()),
    )


def area_under_roc(should: Floats, should_not: Floats) -> float:
    """The probability that one that should has more of a number than one that should not; both `[row]`, not empty."""
    from sklearn.metrics import roc_auc_score

    truth = np.concatenate([np.ones(len(should), np.int64), np.zeros(len(should_not), np.int64)])
    return float(roc_auc_score(truth, np.concatenate([should, should_not])))


def coverage(uncertainty: Floats, wrong: NDArray[np.bool_]) -> Coverage:
    """Risk against coverage: the surest rows first; among equally sure ones, what a random order would give.

    Args:
        uncertainty: `[row]`.
        wrong: `[row]`, whether the answer is.
    """
    rows = len(wrong)
    _, block, sizes = np.unique(uncertainty, return_inverse=True, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    mistakes = np.concatenate([[0.0], np.cumsum(np.bincount(block, weights=wrong.astype(np.float64)))])
    answered = np.arange(1, rows + 1)
    risk = np.interp(answered, ends, mistakes) / answered
    shown = np.unique(np.linspace(1, rows, min(rows, _CURVE_POINTS)).round().astype(np.int64))
    return Coverage(
        coverage=tuple((shown / rows).tolist()), risk=tuple(risk[shown - 1].tolist()), area=float(risk.mean())
    )


def histogram(uncertainty: Floats, wrong: NDArray[np.bool_], other: Floats | None) -> Histogram:
    """How an uncertainty is spread over right answers, wrong ones and, where there are any, other data."""
    highest = max(float(one.max()) for one in (uncertainty, other) if one is not None)
    edges = np.linspace(0.0, highest or 1.0, _BARS + 1)

    def shares(values: Floats, rows: int) -> tuple[float, ...]:
        return tuple((np.histogram(values, edges)[0] / rows).tolist())

    return Histogram(
        edges=tuple(edges.tolist()),
        right=shares(uncertainty[~wrong], len(uncertainty)),
        wrong=shares(uncertainty[wrong], len(uncertainty)),
        other=() if other is None else shares(other, len(other)),
    )
