"""Temperature scaling: the one number by which logits are divided so that the ensemble's confidence can be believed."""

import math

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.results import FittedTemperature
from hnexport.evaluate.scores import Scored, joined, row_blocks, scored, scores
from hnexport.runtime.uncertainty import log_softmax
from hnexport.spec import OutputSpec

__all__ = ["LEAST", "MOST", "ensemble_log_p", "fit_temperature"]

LEAST, MOST = 0.02, 50.0
_NEAR = 1.25  # within this factor of an end, the end itself is nearly as likely


def fit_temperature(
    logits: NDArray[np.floating], labels: NDArray[np.int64], bins: int, output: OutputSpec
) -> FittedTemperature:
    """The temperature with which the ensemble's negative log-likelihood is least: one for all members.

    One near an end of what is searched is taken with a remark: where likelihood is nearly flat the search may stop
    anywhere there. Each member's logits are divided by it before their probabilities are averaged, as in the graphs.
    It is a number of the output's dtype, since the graphs hold it as one.

    Args:
        logits: `[member, row, class]`.
        labels: `[row]`.

    Raises:
        RuntimeInputError: the likelihood has no maximum between `LEAST` and `MOST`.
    """
    from scipy.optimize import minimize_scalar

    def nll(log_temperature: float) -> float:
        return float(-_scored(logits, labels, math.exp(log_temperature)).likelihood.mean())

    bounds = (math.log(LEAST), math.log(MOST))
    best = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    found = math.exp(best.x)
    if best.fun >= min(map(nll, bounds)):
        what = _surer(logits, labels) if found < 1 else "no better than chance"
        raise RuntimeInputError(
            f"no temperature from {LEAST:g} to {MOST:g} is best: on these {len(labels)} rows the ensemble is {what}; "
            "give other held-out data, or more"
        )
    value = float(np.dtype(output.dtype).type(found))
    before, after = (scores(_scored(logits, labels, one), bins) for one in (1.0, value))
    return FittedTemperature(
        value=value, rows=len(labels), before=before, after=after, remark=_at_an_end(value, len(labels))
    )


def _at_an_end(value: float, rows: int) -> str:
    """What to think of a temperature that is hardly inside of what is searched; empty elsewhere."""
    if LEAST * _NEAR < value < MOST / _NEAR:
        return ""
    why = (
        "hardly ever wrong, or the logits are hardly different"
        if value < 1
        else "hardly better than chance, or the logits are far too large"
    )
    return (
        f"the temperature {value:.4g} is at the end of what is searched, {LEAST:g} to {MOST:g}, and not to be relied "
        f"on: on these {rows} rows the ensemble is {why}; look whether data and labels belong to this bundle, and fit "
        "it on other held-out data, or more"
    )


def _surer(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> str:
    """Why the likelihood only grows with members that are surer of what they say."""
    wrong = int((_scored(logits, labels, 1.0).right == 0).sum())
    if not wrong:
        return "never wrong"
    return f"wrong on {wrong}, where some member is right: the surer all of them are, the likelier it is"


def ensemble_log_p(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Log-probabilities of the ensemble `[row, class]`, the members' logits divided by a temperature."""
    log_p = log_softmax(logits / temperature)
    return np.asarray(np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p)))


def _scored(logits: NDArray[np.floating], labels: NDArray[np.int64], temperature: float) -> Scored:
    """The ensemble's rows, some at a time."""
    return joined(
        [
            scored(ensemble_log_p(logits[:, rows].astype(np.float64), temperature), labels[rows])
            for rows in row_blocks(logits)
        ]
    )
