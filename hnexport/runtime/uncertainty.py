"""What an ensemble's outputs say together: the mean prediction, and how much the members disagree.

The entropy of the mean prediction splits into what every member is unsure of and what they disagree about. The second
part is the mutual information between prediction and member (Houlsby et al. 2011, arXiv 1112.5745; the decomposition
into aleatoric and epistemic uncertainty: Depeweg et al. 2018, arXiv 1710.07283).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.spec import OutputKind, OutputSpec

__all__ = [
    "AnytimePrediction",
    "EnsemblePrediction",
    "EnsembleValue",
    "count_votes",
    "log_softmax",
    "summarise",
    "summarise_outputs",
    "summarise_value",
    "taken_by",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsemblePrediction:
    """The prediction of several members together, from logits. Entropies are in nats.

    Shapes are those of a network with logits `[batch, class]`; where the logits have other axes, so has everything
    else, and `axis` says which of them the classes are.

    Attributes:
        members: the members, in the order of `logits`.
        logits: `[member, batch, class]`, float32 (float64 where the network gives that).
        probabilities: float64 `[batch, class]`, the mean of the members' softmax.
        predictive_entropy: float64 `[batch]`, of the mean probabilities; at most log(classes).
        mutual_information: float64 `[batch]`, between prediction and member: 0 where all members predict the same
            probabilities, at most log(members).
        votes: int64 `[batch, class]`, how many members rank the class first (a row with NaN gets none).
        axis: the axis of the classes in `probabilities`, from the end.
    """

    members: tuple[int, ...]
    logits: NDArray[np.floating]
    probabilities: NDArray[np.float64]
    predictive_entropy: NDArray[np.float64]
    mutual_information: NDArray[np.float64]
    votes: NDArray[np.int64]
    axis: int = -1

    @property
    def member_probabilities(self) -> NDArray[np.float64]:
        """Float64 `[member, batch, class]`, each member's softmax."""
        log_p = log_softmax(np.moveaxis(self.logits.astype(np.float64), self.axis, -1))
        return np.moveaxis(np.asarray(np.exp(log_p)), -1, self.axis)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnytimePrediction(EnsemblePrediction):
    """The prediction of as many members as each sample took: everything is of those, as if there were no others.

    Attributes:
        members: all that could be asked, in the order in which they were.
        logits: `[member, batch, class]`; NaN where a sample did not take a member.
        members_used: int64 `[batch]`: each sample took so many, the first of `members`.
    """

    members_used: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsembleValue:
    """What several members say of a value together.

    Attributes:
        members: the members, in the order of `values`.
        values: `[member, …]` in the output's dtype.
        mean: float64 `[…]`, over the members; None where the output is not floating-point.
        variance: float64 `[…]`, of the members as a population: divided by their number. None likewise.
    """

    members: tuple[int, ...]
    values: NDArray[np.generic]
    mean: NDArray[np.float64] | None
    variance: NDArray[np.float64] | None


def taken_by(prediction: EnsemblePrediction, row: int) -> int:
    """How many members a sample of logits `[batch, class]` took."""
    used = prediction.members_used[row] if isinstance(prediction, AnytimePrediction) else len(prediction.members)
    return int(used)


def summarise_outputs(
    outputs: Mapping[str, NDArray[np.generic]], specs: tuple[OutputSpec, ...], members: tuple[int, ...]
) -> dict[str, EnsemblePrediction | EnsembleValue]:
    """What the members say together of each output, by name.

    Args:
        outputs: `[member, …]` each.
    """
    found: dict[str, EnsemblePrediction | EnsembleValue] = {}
    for spec in specs:
        values = outputs[spec.name]
        if spec.kind is OutputKind.LOGITS and spec.axis is not None:
            axis = spec.axis - len(spec.shape)
            found[spec.name] = summarise(values, members, axis=axis)  # type: ignore[arg-type]  # logits are floating
        else:
            found[spec.name] = summarise_value(values, members)
    return found


def summarise_value(values: NDArray[np.generic], members: tuple[int, ...]) -> EnsembleValue:
    """Mean and variance over the members of `[member, …]`, in float64; of floating-point values alone.

    Infinite values, and those that are not a number, make only their own element's mean and variance NaN or infinite.
    """
    mean = variance = None
    if values.dtype.kind == "f":
        exact = values.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = np.asarray(exact.mean(axis=0))
            variance = np.asarray(np.square(exact - mean).mean(axis=0))
    return EnsembleValue(members=members, values=values, mean=mean, variance=variance)


def summarise(
    logits: NDArray[np.floating], members: tuple[int, ...] | None = None, *, axis: int = -1
) -> EnsemblePrediction:
    """Combine the members' logits `[member, batch, class]`; NaN logits make only their own sample's values NaN.

    Everything is computed from log-probabilities in float64, so that logits of any size neither overflow nor lose the
    small differences between members that agree: with the mean probability q, the mutual information is
    `mean_m sum_c p_mc (log p_mc - log q_c)`, a mean of Kullback-Leibler divergences.

    Args:
        axis: of the classes, from the end.

    Raises:
        RuntimeInputError: `logits` is not `[member, …]` with at least one member and one class.
    """
    if not -logits.ndim < axis < 0 or not logits.shape[0] or not logits.shape[axis]:
        raise RuntimeInputError(f"expected logits [member, batch, class], found shape {list(logits.shape)}")
    log_p = log_softmax(np.moveaxis(logits.astype(np.float64), axis, -1))
    with np.errstate(invalid="ignore"):
        log_q = np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p))
        q = np.exp(log_q)
        divergence = _expectation(np.exp(log_p), log_p - np.where(np.isneginf(log_q), 0.0, log_q))
        mutual_information = np.maximum(divergence.mean(axis=0), 0.0)
        predictive_entropy = np.maximum(-_expectation(q, log_q), 0.0)
    return EnsemblePrediction(
        members=tuple(range(len(logits))) if members is None else members,
        logits=logits if logits.dtype == np.float64 else logits.astype(np.float32, copy=False),
        probabilities=np.moveaxis(np.asarray(q), -1, axis),
        predictive_entropy=np.asarray(predictive_entropy),
        mutual_information=np.asarray(mutual_information),
        votes=np.moveaxis(count_votes(np.moveaxis(logits, axis, -1)), -1, axis),
        axis=axis,
    )


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities along the last axis; NaN where a row holds NaN or +inf."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _expectation(p: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sum_c p_c value_c` over the last axis, with 0 times infinity as 0."""
    return np.asarray(np.where(p == 0.0, 0.0, p * value).sum(axis=-1))


def count_votes(logits: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many members rank a class first, the first one where several are: `[member, …, class]` to `[…, class]`."""
    classes = logits.shape[-1]
    votes = np.zeros((int(np.prod(logits.shape[1:-1])), classes), dtype=np.int64)
    for rows in logits.reshape(len(logits), len(votes), classes):
        counted = np.flatnonzero(~np.isnan(rows).any(axis=-1))
        votes[counted, rows[counted].argmax(axis=-1)] += 1
    return votes.reshape(logits.shape[1:])
