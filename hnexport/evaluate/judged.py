"""Each source's answers in turn, and what they are worth."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.answers import Source, answers
from hnexport.evaluate.anytime import Asked
from hnexport.evaluate.classification import classify, compared, rows_of
from hnexport.evaluate.data import Data
from hnexport.evaluate.options import EvaluateOptions
from hnexport.evaluate.results import ChosenUntil, FittedTemperature, SourceEvaluation
from hnexport.evaluate.stopping import StatedLoss, choose
from hnexport.evaluate.temperature import fit_temperature
from hnexport.evaluate.values import compared_values, regress, value_rows
from hnexport.progress import Progress
from hnexport.runtime.anytime import can_stop
from hnexport.runtime.options import Precision
from hnexport.spec import OutputSpec, Signature

__all__ = ["Judged", "Task", "judged"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is evaluated, on what, and how.

    Attributes:
        precision: that in which `until` is chosen.
        asked: how members are asked one after the other.
    """

    signature: Signature
    output: OutputSpec
    members: tuple[int, ...]
    data: Data
    others: Data | None
    options: EvaluateOptions
    precision: Precision
    asked: Asked
    progress: Progress

    def answers(self, source: Source, samples: Data) -> NDArray[Any]:
        """`[member, row, class]`, or `[member, sample, element]` of a value."""
        found = answers(source, self.signature, self.output, self.members, samples, self.progress)
        return value_rows(found) if self.output.axis is None else rows_of(found, self.output.axis)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What every source is worth, and what was fitted: the temperature on the first one's answers."""

    sources: tuple[SourceEvaluation, ...]
    temperature: FittedTemperature | None
    until: ChosenUntil | None
    untimed: tuple[str, ...] = ()


def judged(sources: Iterator[Source], task: Task) -> Judged:
    """The first source is what the others are compared with."""
    first: NDArray[Any] | None = None
    done: list[SourceEvaluation] = []
    untimed: list[str] = []
    fitted: FittedTemperature | None = None
    until: ChosenUntil | None = None
    labels, bins, stated = np.asarray(task.data.targets).reshape(-1), task.options.bins, task.options.until
    for source in sources:
        found = task.answers(source, task.data)
        if task.options.temperature and first is None:
            fitted = fit_temperature(found, labels, bins, task.output)
        first = found if first is None else first
        done.append(_one(source, found, first, done[0].name if done else None, task))
        if (costs := task.options.costs) is not None and source.name.startswith("runtime"):
            untimed += filter(None, [costs.missing(source.timed_as, source.provider)])
        if stated is not None and source.name.startswith("runtime") and source.precision == task.precision:
            until = _chosen(found, first, labels, stated, fitted, task)
    return Judged(sources=tuple(done), temperature=fitted, until=until, untimed=tuple(untimed))


def _one(source: Source, found: NDArray[Any], first: NDArray[Any], against: str | None, task: Task) -> SourceEvaluation:
    """What one source's answers are worth; without `against` it is the first."""
    targets, is_value = np.asarray(task.data.targets), task.output.axis is None
    foreign = None if task.others is None else task.answers(source, task.others)
    compare, costs = compared_values if is_value else compared, task.options.costs
    classification = regression = None
    if is_value:
        regression = regress(found, targets.reshape(task.data.samples, -1), foreign)
    else:
        anytime = can_stop(task.signature)
        labels = targets.reshape(-1)
        known = None if against is None else first
        classification = classify(
            found, labels, task.options.bins, foreign, asked=task.asked, anytime=anytime, against=known
        )
    return SourceEvaluation(
        name=source.name,
        runtime=source.runtime,
        classification=classification,
        regression=regression,
        difference=None if against is None else compare(found, first, against),
        precision=source.precision,
        member_cost=None if costs is None else costs.of(source.timed_as, source.provider),
    )


def _chosen(
    found: NDArray[Any],
    first: NDArray[Any],
    labels: NDArray[np.int64],
    stated: StatedLoss,
    fitted: FittedTemperature | None,
    task: Task,
) -> ChosenUntil:
    """When members are enough, of these logits divided by the temperature; the loss is against the first source's."""
    value = 1.0 if fitted is None else fitted.value
    chosen = choose(
        found / value,
        labels,
        **vars(stated),
        against=None if found is first else first / value,
        least=task.options.least,
        bins=task.options.bins,
    )
    order = tuple(task.members[place] for place in chosen.order)
    return replace(chosen, order=order, precision=task.precision.value)
