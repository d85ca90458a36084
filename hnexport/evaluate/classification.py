"""From the members' logits and the right classes to everything that is said of them."""

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.anytime import Asked, stopped
from hnexport.evaluate.measures import Difference
from hnexport.evaluate.results import Classification
from hnexport.evaluate.scores import Scored, gain, joined, mean_scores, reliability, row_blocks, scored, scores
from hnexport.evaluate.uncertainty import coverage, diversity, histogram, row_diversity, separation, uncertainties
from hnexport.runtime.uncertainty import log_softmax, summarise

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


def classify(
    logits: Logits,
    labels: NDArray[np.int64],
    bins: int,
    others: Logits | None = None,
    *,
    asked: Asked | None = None,
    anytime: bool = True,
    against: Logits | None = None,
) -> Classification:
    """Evaluate logits, some rows at a time: it takes little more memory than they do.

    Args:
        logits: `[member, row, class]`.
        labels: `[row]`.
        bins: of the calibration error.
        others: `[member, row, class]` of data that do not belong.
        asked: in which order members are asked one after the other; None takes theirs.
        anytime: whether `predict_mean` can ask such members one after the other.
        against: the logits of the source with which answers that change by stopping are compared; None takes `logits`.

    Raises:
        RuntimeInputError: a row of logits is not finite.
    """
    _check_finite(logits)
    members, whole, differences, own = _each_row(logits, labels)
    foreign = {} if others is None else _uncertain(others)
    each = tuple(scores(members.of(number), bins) for number in range(len(logits)))
    mean, ensemble, wrong = mean_scores(each), scores(whole, bins), ~whole.right
    return Classification(
        rows=len(labels),
        classes=logits.shape[-1],
        each=each,
        mean=mean,
        ensemble=ensemble,
        gain=gain(ensemble, mean),
        diversity=diversity(differences, own["mutual_information"]),
        reliability=reliability(whole, bins),
        member_reliability=reliability(members.flat, bins),
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
        stopped=stopped(logits, labels, bins, asked, others, against) if anytime else (),
    )


def compared(logits: Logits, reference: Logits, against: str) -> Difference:
    """How far answers are from those of another source; both `[member, row, class]`."""
    largest, answers = [0.0, 0.0], [0, 0]
    for rows in row_blocks(logits):
        found, known = (np.exp(log_softmax(one[:, rows].astype(np.float64))) for one in (logits, reference))
        for number, (one, other) in enumerate(((found, known), (found.mean(axis=0), known.mean(axis=0)))):
            largest[number] = max(largest[number], float(np.abs(one - other).max()))
            answers[number] += int((one.argmax(axis=-1) != other.argmax(axis=-1)).sum())
    return Difference(
        against=against,
        probabilities=largest[0],
        ensemble=largest[1],
        answers=answers[0],
        ensemble_answers=answers[1],
    )


def _each_row(
    logits: Logits, labels: NDArray[np.int64]
) -> tuple[Scored, Scored, dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """The members' rows and the ensemble's, how members differ, and how uncertain they are together."""
    members, whole, differences, uncertain = [], [], [], []
    for rows in row_blocks(logits):
        log_p = log_softmax(logits[:, rows].astype(np.float64))
        log_q = np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p))
        prediction = summarise(logits[:, rows])
        members.append(scored(log_p, labels[rows]))
        whole.append(scored(log_q, labels[rows]))
        differences.append(row_diversity(prediction, labels[rows]))
        uncertain.append(uncertainties(prediction))
    return joined(members), joined(whole), _joined(differences), _joined(uncertain)


def _uncertain(logits: Logits) -> dict[str, NDArray[np.float64]]:
    _check_finite(logits)
    return _joined([uncertainties(summarise(logits[:, rows])) for rows in row_blocks(logits)])


def _joined(parts: list[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _check_finite(logits: Logits) -> None:
    count, first = 0, None
    for rows in row_blocks(logits):
        wrong = np.argwhere(~np.isfinite(logits[:, rows]).all(axis=-1))
        count += len(wrong)
        if first is None and len(wrong):
            first = int(wrong[0][0]), int(wrong[0][1]) + rows.start
    if first is not None:
        member, row = first
        raise RuntimeInputError(
            f"{count} answers are not finite, the first is number {member} of the members on row {row}: "
            "check the data for NaN and for numbers that the network never saw"
        )
