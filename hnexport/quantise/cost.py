"""What fewer bits (int8, half precision, rounded bases) change: outputs and answers, against float32."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import TuneError, TuneFailedError
from hnexport.rows import taken
from hnexport.runtime.residents import Predictor
from hnexport.runtime.uncertainty import log_softmax
from hnexport.runtime.validation import require_number
from hnexport.spec import OutputSpec, Signature
from hnexport.spelling import spelled

__all__ = ["Budget", "Cost", "ensemble_cost", "member_cost", "outputs_of"]

Array = NDArray[np.generic]
Floats = NDArray[np.floating]

_SAMPLES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one member, or the mean of all, loses in fewer bits.

    Attributes:
        relative_l2: of the outputs over all judged samples, |in fewer bits - float32| / |float32|.
        agreement: share of rows whose answer is float32's; None where the output is no logits.
        accuracy: share of right answers; None where nobody said what is right.
        accuracy_float32: the same of float32.
    """

    relative_l2: float
    agreement: float | None = None
    accuracy: float | None = None
    accuracy_float32: float | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What fewer bits may cost at most.

    Attributes:
        accuracy_drop: of the share of right answers, for instance 0.005.
        agreement: the least share of answers that are float32's.
    """

    accuracy_drop: float | None = None
    agreement: float | None = None

    def __post_init__(self) -> None:
        """Refuse what nothing would ever be over.

        Raises:
            RuntimeInputError: one is no number.
        """
        if self.accuracy_drop is not None:
            require_number(spelled("accuracy_drop", "--max-accuracy-drop"), self.accuracy_drop)
        if self.agreement is not None:
            require_number(spelled("agreement", "--min-agreement"), self.agreement)

    def check(self, cost: Cost, whose: str, precision: str = "int8") -> None:
        """Refuse what is over the budget.

        Raises:
            TuneFailedError: it is.
            TuneError: the data do not tell.
        """
        over = self.exceeded(cost, whose, f"in {precision}")
        if over:
            raise TuneFailedError(f"{over}: nothing was published")

    def exceeded(self, cost: Cost, whose: str, how: str) -> str:
        """What is over the budget, in a sentence; empty where nothing is.

        Args:
            whose: answers these are.
            how: they come about, for instance "in int8".

        Raises:
            TuneError: the data do not tell.
        """
        drop, least = self.accuracy_drop, self.agreement
        if drop is not None:
            if cost.accuracy is None or cost.accuracy_float32 is None:
                said = spelled("accuracy_drop", "--max-accuracy-drop")
                raise TuneError(f"{said} needs samples with what is right of them, and logits")
            lost = cost.accuracy_float32 - cost.accuracy
            if lost > drop + 1e-12:
                return (
                    f"{whose} has an accuracy of {cost.accuracy:.4f} {how}, {cost.accuracy_float32:.4f} in float32: "
                    f"{lost:.4f} less, allowed {drop:g}"
                )
        if least is not None:
            if cost.agreement is None:
                raise TuneError(f"{spelled('agreement', '--min-agreement')} is for logits, which this network has not")
            if cost.agreement < least - 1e-12:
                return (
                    f"{whose} answers as float32 does for {cost.agreement:.4f} of the samples {how}, at least "
                    f"{least:g} was asked for"
                )
        return ""


def outputs_of(predict: Predictor, signature: Signature, output: OutputSpec, inputs: Mapping[str, Array]) -> Floats:
    """One output of all samples, in batches."""
    samples = max(len(inputs[item.name]) for item in signature.inputs if item.has_batch)
    parts = [
        np.asarray(predict(taken(signature, inputs, slice(start, start + _SAMPLES_AT_ONCE)))[output.name])
        for start in range(0, samples, _SAMPLES_AT_ONCE)
    ]
    return np.concatenate(parts)


def member_cost(exact: Floats, found: Floats, output: OutputSpec, targets: Array | None) -> Cost:
    """The cost of a member's outputs `[sample, …]`."""
    error = _distance(exact.astype(np.float64), found.astype(np.float64))
    if output.axis is None:
        return Cost(relative_l2=error)
    return _answers(error, _largest(exact, output.axis), _largest(found, output.axis), targets)


def ensemble_cost(exact: Sequence[Floats], found: Sequence[Floats], output: OutputSpec, targets: Array | None) -> Cost:
    """The cost of the mean: of probabilities where the output is logits."""
    if output.axis is None:
        return member_cost(np.mean(exact, axis=0), np.mean(found, axis=0), output, targets)
    means = [np.mean([_probabilities(one, output.axis) for one in side], axis=0) for side in (exact, found)]
    return member_cost(means[0], means[1], output, targets)


def _probabilities(logits: Floats, axis: int) -> Floats:
    moved = np.moveaxis(logits.astype(np.float64), axis, -1)
    return np.moveaxis(np.exp(log_softmax(moved)), -1, axis)


def _distance(exact: Floats, found: Floats) -> float:
    """Relative L2 over all samples; infinite where one side alone is not finite, as a class that is masked is in both.

    A sum of squares in float32 overflows from 1e19.
    """
    differs = (found != exact) & ~(np.isnan(found) & np.isnan(exact))
    with np.errstate(invalid="ignore"):
        distance = float(np.linalg.norm(np.where(differs, found - exact, 0.0)))
    size = float(np.linalg.norm(np.where(np.isfinite(exact), exact, 0.0)))
    error = distance / max(size, float(np.finfo(np.float64).tiny))
    return error if np.isfinite(error) else np.inf


def _largest(logits: Floats, axis: int) -> Array:
    """The class of each row; -1, which is no answer, where a logit is NaN."""
    return np.where(np.isnan(logits).any(axis), -1, logits.argmax(axis))


def _answers(error: float, exact: Array, found: Array, targets: Array | None) -> Cost:
    right = None if targets is None else float((found == targets).mean())
    known = None if targets is None else float((exact == targets).mean())
    agreement = float(((exact == found) & (found != -1)).mean())
    return Cost(relative_l2=error, agreement=agreement, accuracy=right, accuracy_float32=known)
