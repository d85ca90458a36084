"""What an ensemble is worth that asks no more members than an image needs: run by the runtime, fold by fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.scores import scored, scores
from hnexport.evaluate.stopping import choose
from hnexport.runtime import Until, load
from hnexport.runtime.until import Tally
from study.answers import FLOAT32, INT8, Answers, bundle_of
from study.bootstrap import BINS, Bootstrap, Interval, mean
from study.tasks import Fold, Task
from study.worth import Difference, Given, Judged, all_members, difference

__all__ = ["Chosen", "Rule", "Stopped", "stopped"]

Labels = NDArray[np.int64]

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a row needs no more members. With none of these it takes all.

    Attributes:
        drop, rise: the loss of accuracy, and the rise of the calibration error with it, that are stated where order and
            threshold are chosen.
        answer: a rule that needs nothing chosen, as `Until` has it.
        first: so many members, whatever the row is.
    """

    kind: str = INT8
    drop: float | None = None
    rise: float = 0.01
    answer: str | None = None
    first: int | None = None

    @property
    def text(self) -> str:
        """As tables have it."""
        if self.drop is not None:
            return f"{self.kind}, {100 * self.drop:g} points stated"
        if self.first is not None:
            return f"{self.kind}, {'one' if self.first == 1 else f'the first {self.first}'}"
        return f"{self.kind}, {'all' if self.answer is None else 'exact' if self.answer == 'mean' else self.answer}"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What one fold's images chose: nothing where they could not show that any threshold costs so little.

    Attributes:
        rows: how many they are.
    """

    order: tuple[int, ...]
    rows: int
    until: Until | None = None


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A rule.

    Attributes:
        chosen: by fold.
        members: that an image takes, mean.
        apart: images that would have taken another number of members with all images of their fold in every batch;
            the runtime's batches become smaller with every member.
    """

    rule: Rule
    chosen: tuple[Chosen, ...]
    members: Interval
    accuracy: float
    ece: float
    changed: int
    apart: int
    difference: Difference


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """One fold by one rule; `expected` members are said by logits of all images of the fold."""

    chosen: Chosen
    used: Labels
    expected: Labels
    probabilities: NDArray[np.float64] = field(repr=False)


def stopped(judged: Judged, rules: Sequence[Rule], bootstrap: Bootstrap, said: Callable[[str], None]) -> list[Stopped]:
    """What rules take and give; each fold's order and threshold come from the images of that fold that choose."""
    runs: dict[Rule, list[_Run]] = {rule: [] for rule in rules}
    for number, (fold, answers, folder) in enumerate(zip(judged.folds, judged.answers, judged.folders, strict=True)):
        said(f"fold {number}: members one after the other")
        kinds = {rule.kind for rule in rules}
        loaded = {kind: load(bundle_of(folder), provider="cpu", precision=kind) for kind in kinds}
        for rule in rules:
            runs[rule].append(_run(judged.task, fold, answers, rule, loaded[rule.kind]))
    labels, reference = judged.labels, all_members(judged.reported(FLOAT32), judged.labels)
    return [_stopped(rule, runs[rule], labels, reference, bootstrap) for rule in rules]


def _run(task: Task, fold: Fold, answers: Answers, rule: Rule, ensemble: Any) -> _Run:
    chosen = _chosen(rule, answers, fold.choose, task.labels[fold.choose])
    images, logits = task.images[fold.report], answers.of(rule.kind, fold.report)[list(chosen.order)]
    if chosen.until is None:
        members = list(chosen.order[: rule.first])
        found = ensemble.predict_mean(images, members=members)
        used = expected = np.full(len(images), len(members), np.int64)
    else:
        found = ensemble.predict_mean(images, members=list(chosen.order), until=chosen.until)
        used, expected = found.members_used, _expected(logits, chosen.until)
    return _Run(chosen=chosen, used=used, expected=expected, probabilities=found.probabilities)


def _chosen(rule: Rule, answers: Answers, rows: Labels, labels: Labels) -> Chosen:
    logits = answers.of(rule.kind, rows)
    as_they_are = tuple(range(len(logits)))
    if rule.drop is None:
        until = None if rule.answer is None else Until(answer=rule.answer)
        return Chosen(order=as_they_are, rows=0, until=until)
    exact = answers.of(FLOAT32, rows)
    try:
        found = choose(logits, labels, max_accuracy_drop=rule.drop, max_ece_rise=rule.rise, against=exact, bins=BINS)
    except RuntimeInputError:
        return Chosen(order=as_they_are, rows=len(rows))
    return Chosen(order=found.order, rows=len(rows), until=Until(confidence=found.confidence, least=found.least))


def _expected(logits: NDArray[np.float32], until: Until) -> Labels:
    members, rows, classes = logits.shape
    tally, used = Tally(rows, classes), np.full(rows, members, np.int64)
    for position in range(members - 1):
        tally.add(logits[position])
        used[until.holds(tally, members) & (used == members)] = position + 1
    return used


def _stopped(rule: Rule, runs: Sequence[_Run], labels: Labels, reference: Given, bootstrap: Bootstrap) -> Stopped:
    used, expected, probabilities = (
        np.concatenate([getattr(run, name) for run in runs]) for name in ("used", "expected", "probabilities")
    )
    found = Given(
        scored=scored(np.log(np.maximum(probabilities, _TINY)), labels), answers=probabilities.argmax(axis=-1)
    )
    worth = scores(found.scored, BINS)
    return Stopped(
        rule=rule,
        chosen=tuple(run.chosen for run in runs),
        members=bootstrap.interval(used[:, np.newaxis].astype(np.float64), mean),
        accuracy=worth.accuracy,
        ece=worth.ece,
        changed=int((found.answers != reference.answers).sum()),
        apart=int((used != expected).sum()),
        difference=difference(found, reference, bootstrap),
    )
