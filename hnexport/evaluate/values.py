"""From the members' values and the right ones to how far off they are, and whether their spread says so.

The members' values are taken for a normal distribution with their mean and variance (divided by their number, as
`predict` has them), and as they are, each as probable as the others.
"""

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.measures import Difference, Interval
from hnexport.evaluate.results import Regression
from hnexport.evaluate.uncertainty import separation

__all__ = ["compared_values", "crps_normal", "crps_of", "regress", "value_rows"]

Floats = NDArray[np.float64]

_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def value_rows(values: NDArray[np.floating]) -> Floats:
    """`[member, sample, element]` of `[member, sample, …]`, in float64."""
    return values.reshape(*values.shape[:2], -1).astype(np.float64)


def regress(values: Floats, targets: Floats, others: Floats | None = None) -> Regression:
    """Evaluate values.

    Args:
        values: `[member, sample, element]`.
        targets: `[sample, element]`.
        others: as `values`, of data that do not belong.

    Raises:
        RuntimeInputError: a value is not finite.
    """
    _check_finite(values)
    mean, variance = values.mean(axis=0), values.var(axis=0)
    several, errors = len(values) > 1, np.abs(values - targets)
    each = tuple(np.sqrt((errors**2).mean(axis=(1, 2))).tolist())
    rmse, deviation = float(np.sqrt(((mean - targets) ** 2).mean())), np.sqrt(variance)
    found = None
    if others is not None and several:
        _check_finite(others)
        found = separation(others.std(axis=0).mean(axis=-1), deviation.mean(axis=-1))
    return Regression(
        rows=len(targets),
        elements=targets.shape[-1],
        each=each,
        mean=float(np.mean(each)),
        rmse=rmse,
        gain=float(np.mean(each)) - rmse,
        each_absolute=tuple(errors.mean(axis=(1, 2)).tolist()),
        nll=_normal_nll(targets, mean, variance) if several else None,
        crps=float(crps_normal(targets, mean, deviation).mean()) if several else None,
        crps_members=float(crps_of(values, targets).mean()),
        deviation=float(deviation.mean()),
        intervals=_intervals(targets, mean, deviation) if several else (),
        ood=found,
    )


def crps_normal(targets: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Continuous ranked probability score of normal distributions, each element; without spread the distance."""
    from scipy.special import ndtr

    distance = np.abs(targets - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = distance / deviation
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        score = deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.asarray(np.where(deviation > 0, score, distance))


def crps_of(values: Floats, targets: Floats) -> Floats:
    """The same of the members as they are, `[member, …]`: their distance, less half of that between two of them."""
    count = len(values)
    weights = (2 * np.arange(1, count + 1) - count - 1) / count**2
    apart = np.tensordot(weights, np.sort(values, axis=0), axes=1)  # half of the mean distance of two
    return np.asarray(np.abs(values - targets).mean(axis=0) - apart)


def compared_values(values: Floats, reference: Floats, against: str) -> Difference:
    """How far values are from those of another source; both `[member, sample, element]`."""
    return Difference(
        against=against,
        probabilities=float(np.abs(values - reference).max()),
        ensemble=float(np.abs(values.mean(axis=0) - reference.mean(axis=0)).max()),
        answers=0,
        ensemble_answers=0,
    )


def _normal_nll(targets: Floats, mean: Floats, variance: Floats) -> float:
    """Infinite where members agree on what is wrong: no variance is made larger to avoid that."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 0.5 * (np.log(2 * np.pi * variance) + (targets - mean) ** 2 / variance)
    return float(np.where(variance > 0, found, np.where(targets == mean, -np.inf, np.inf)).mean())


def _intervals(targets: Floats, mean: Floats, deviation: Floats) -> tuple[Interval, ...]:
    """How many targets lie in the middle of the normal distributions."""
    from scipy.special import ndtri

    off = np.abs(targets - mean)
    return tuple(
        Interval(nominal=level, observed=float((off <= ndtri(0.5 + level / 2) * deviation).mean())) for level in _LEVELS
    )


def _check_finite(values: Floats) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        member, row, _ = wrong[0].tolist()
        raise RuntimeInputError(
            f"{len(wrong)} values are not finite, the first is number {member} of the members on row {row}: "
            "check the data for NaN and for numbers that the network never saw"
        )
