"""What an ensemble's logits say together: the mean prediction, and how much the members disagree.

The entropy of the mean prediction splits into what every member is unsure of and what they disagree about. The second
part is the mutual information between prediction and member (Houlsby et al. 2011, arXiv 1112.5745; the decomposition
into aleatoric and epistemic uncertainty: Depeweg et al. 2018, arXiv 1710.07283).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError

__all__ = ["EnsemblePrediction", "log_softmax", "summarise"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsemblePrediction:
    """The prediction of several members together. Entropies are in nats.

    Attributes:
        members: the members, in the order of `logits`.
        logits: float32 `[member, batch, class]`.
        probabilities: float64 `[batch, class]`, the mean of the members' softmax.
        predictive_entropy: float64 `[batch]`, of the mean probabilities; at most log(classes).
        mutual_information: float64 `[batch]`, between prediction and member: 0 where all members predict the same
            probabilities, at most log(members).
        votes: int64 `[batch, class]`, how many members rank the class first (an image with NaN logits gets no votes).
    """

    members: tuple[int, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    predictive_entropy: NDArray[np.float64]
    mutual_information: NDArray[np.float64]
    votes: NDArray[np.int64]

    @property
    def member_probabilities(self) -> NDArray[np.float64]:
        """Float64 `[member, batch, class]`, each member's softmax."""
        return np.asarray(np.exp(log_softmax(self.logits.astype(np.float64))))


def summarise(logits: NDArray[np.floating], members: tuple[int, ...] | None = None) -> EnsemblePrediction:
    """Combine the members' logits `[member, batch, class]`; NaN logits make only their own image's values NaN.

    Everything is computed from log-probabilities in float64, so that logits of any size neither overflow nor lose the
    small differences between members that agree: with the mean probability q, the mutual information is
    `mean_m sum_c p_mc (log p_mc - log q_c)`, a mean of Kullback-Leibler divergences.

    Raises:
        RuntimeInputError: `logits` is not `[member, batch, class]` with at least one member and one class.
    """
    if logits.ndim != 3 or not logits.shape[0] or not logits.shape[2]:
        raise RuntimeInputError(f"expected logits [member, batch, class], found shape {list(logits.shape)}")
    log_p = log_softmax(logits.astype(np.float64))
    with np.errstate(invalid="ignore"):
        log_q = np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p))
        q = np.exp(log_q)
        divergence = _expectation(np.exp(log_p), log_p - np.where(np.isneginf(log_q), 0.0, log_q))
        mutual_information = np.maximum(divergence.mean(axis=0), 0.0)
        predictive_entropy = np.maximum(-_expectation(q, log_q), 0.0)
    return EnsemblePrediction(
        members=tuple(range(len(logits))) if members is None else members,
        logits=logits.astype(np.float32, copy=False),
        probabilities=q,
        predictive_entropy=predictive_entropy,
        mutual_information=mutual_information,
        votes=_count_votes(logits),
    )


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities along the last axis; NaN where a row holds NaN or +inf."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _expectation(p: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sum_c p_c value_c` over the last axis, with 0 times infinity as 0."""
    return np.asarray(np.where(p == 0.0, 0.0, p * value).sum(axis=-1))


def _count_votes(logits: NDArray[np.floating]) -> NDArray[np.int64]:
    _, batch, classes = logits.shape
    votes = np.zeros((batch, classes), dtype=np.int64)
    for rows in logits:
        counted = np.flatnonzero(~np.isnan(rows).any(axis=-1))
        votes[counted, rows[counted].argmax(axis=-1)] += 1
    return votes
