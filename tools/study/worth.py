"""What int8 and rounded bases change: answers, accuracy and calibration beside float32, over all images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.prefixes import prefixes
from hnexport.evaluate.scores import Scored, scores
from study.answers import FLOAT32, Answers
from study.bootstrap import BINS, Bootstrap, Interval, calibration, calibration_difference, mean
from study.tasks import Fold, Task

__all__ = ["Compared", "Difference", "Given", "Judged", "all_members", "compared", "difference"]

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A task, its folds, and what every member says of what it was not trained on.

    Attributes:
        folders: of the bundles.
    """

    task: Task = field(repr=False)
    folds: Sequence[Fold] = field(repr=False)
    answers: Sequence[Answers] = field(repr=False)
    folders: Sequence[Path]

    @property
    def labels(self) -> Labels:
        """Of the images that are reported, fold by fold: the order of everything here."""
        return np.concatenate([self.task.labels[fold.report] for fold in self.folds])

    def reported(self, kind: str) -> NDArray[np.float32]:
        """`[member, row, class]`."""
        parts = [answers.of(kind, fold.report) for answers, fold in zip(self.answers, self.folds, strict=True)]
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """What an ensemble says of some rows.

    Attributes:
        scored: its mean probabilities against the right classes.
        answers: the most probable classes.
    """

    scored: Scored
    answers: Labels


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An ensemble beside that of all members in float32.

    Attributes:
        changed: share of answers that are others.
        accuracy, ece: its own minus float32's.
    """

    changed: Interval
    accuracy: Interval
    ece: Interval


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One kind of members.

    Attributes:
        member_accuracy: mean of all members.
        members_changed: answers of members that are not the same member's in float32; `of_answers` there are.
        member_change: the same as a share; images are drawn, each with the answers of all members.
        accuracy, ece: of the mean of all members.
        changed: answers of that.
    """

    kind: str
    member_accuracy: float
    members_changed: int
    of_answers: int
    member_change: Interval
    accuracy: float
    ece: float
    changed: int
    difference: Difference


def compared(judged: Judged, bootstrap: Bootstrap) -> list[Compared]:
    """Every kind that was run, float32 first."""
    exact, labels = judged.reported(FLOAT32), judged.labels
    reference = all_members(exact, labels)
    found = []
    for kind in judged.answers[0].logits:
        logits = judged.reported(kind)
        ensemble, own = all_members(logits, labels), logits.argmax(axis=-1)
        others, worth = own != exact.argmax(axis=-1), scores(ensemble.scored, BINS)
        found.append(
            Compared(
                kind=kind,
                member_accuracy=float((own == labels).mean()),
                members_changed=int(others.sum()),
                of_answers=others.size,
                member_change=bootstrap.interval(others.mean(axis=0)[:, np.newaxis], mean),
                accuracy=worth.accuracy,
                ece=worth.ece,
                changed=int((ensemble.answers != reference.answers).sum()),
                difference=difference(ensemble, reference, bootstrap),
            )
        )
    return found


def all_members(logits: NDArray[np.float32], labels: Labels) -> Given:
    """The mean of all members, of logits `[member, row, class]`."""
    scored, answers = prefixes(logits, labels).at(np.full(len(labels), len(logits), np.int64))
    return Given(scored=scored, answers=answers)


def difference(found: Given, reference: Given, bootstrap: Bootstrap) -> Difference:
    """Of two ensembles on the same rows."""
    right = found.scored.right.astype(np.float64) - reference.scored.right
    changed = (found.answers != reference.answers).astype(np.float64)
    errors = np.concatenate([calibration(found.scored), calibration(reference.scored)], axis=1)
    return Difference(
        changed=bootstrap.interval(changed[:, np.newaxis], mean),
        accuracy=bootstrap.interval(right[:, np.newaxis], mean),
        ece=bootstrap.interval(errors, calibration_difference),
    )
