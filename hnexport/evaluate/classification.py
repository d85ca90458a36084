"""From the members' logits and the right classes to everything that is said of them."""

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.results import Classification, Difference
from hnexport.evaluate.scores import gain, mean_scores, reliability, scores
from hnexport.evaluate.uncertainty import coverage, diversity, histogram, separation, uncertainties
from hnexport.runtime.uncertainty import EnsemblePrediction, log_softmax, summarise

__all__ = ["classify", "compared", "rows_of"]

Array = NDArray[np.generic]
Logits = NDArray[np.floating]


def rows_of(logits: Logits, axis: int) -> Logits:
    """`[member, row, class]` of `[member, sample, …]`: every position of an output with further axes is a row.

    Args:
        axis: of the classes in one member's output, counting the batch.
    """
    moved = np.moveaxis(logits, axis + 1, -1)
    return moved.reshape(len(moved), -1, moved.shape[-1])


def classify(logits: Logits, labels: NDArray[np.int64], bins: int, others: Logits | None = None) -> Classification:
    """Evaluate logits.

    Args:
        logits: `[member, row, class]`.
        labels: `[row]`.
        bins: of the calibration error.
        others: `[member, row, class]` of data that do not belong.

    Raises:
        RuntimeInputError: a row of logits is not finite.
    """
    prediction = _summarised(logits)
    log_p = log_softmax(logits.astype(np.float64))
    log_q = np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p))
    each = tuple(scores(one, labels, bins) for one in log_p)
    mean, ensemble = mean_scores(each), scores(log_q, labels, bins)
    wrong = log_q.argmax(axis=-1) != labels
    own = uncertainties(prediction)
    foreign = {} if others is None else uncertainties(_summarised(others))
    classes = logits.shape[-1]
    return Classification(
        rows=len(labels),
        classes=classes,
        each=each,
        mean=mean,
        ensemble=ensemble,
        gain=gain(ensemble, mean),
        diversity=diversity(prediction, labels),
        reliability=reliability(np.exp(log_q), labels, bins),
        member_reliability=reliability(np.exp(log_p).reshape(-1, classes), np.tile(labels, len(log_p)), bins),
        wrong={
            name: found
            for name, values in own.items()
            if (found := separation(values[wrong], values[~wrong])) is not None
        },
        coverage={name: coverage(values, wrong) for name, values in own.items()},
        ood={name: found for name, values in foreign.items() if (found := separation(values, own[name])) is not None},
        uncertainty={
            name: (float(values.mean()), *(float(foreign[name].mean()) for _ in foreign and (0,)))
            for name, values in own.items()
        },
        histograms={name: histogram(values, wrong, foreign.get(name)) for name, values in own.items()},
    )


def compared(logits: Logits, reference: Logits, against: str) -> Difference:
    """How far answers are from those of another source; both `[member, row, class]`."""
    found, known = (log_softmax(one.astype(np.float64)) for one in (logits, reference))
    means = [np.exp(one).mean(axis=0) for one in (found, known)]
    return Difference(
        against=against,
        probabilities=float(np.abs(np.exp(found) - np.exp(known)).max()),
        ensemble=float(np.abs(means[0] - means[1]).max()),
        answers=int((found.argmax(axis=-1) != known.argmax(axis=-1)).sum()),
        ensemble_answers=int((means[0].argmax(axis=-1) != means[1].argmax(axis=-1)).sum()),
    )


def _summarised(logits: Logits) -> EnsemblePrediction:
    wrong = np.argwhere(~np.isfinite(logits).all(axis=-1))
    if len(wrong):
        member, row = wrong[0].tolist()
        raise RuntimeInputError(
            f"{len(wrong)} answers are not finite, the first is number {member} of the members on row {row}: "
            "check the data for NaN and for numbers that the network never saw"
        )
    return summarise(logits)
