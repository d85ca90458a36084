"""What members one after the other are worth: how many samples take by each rule, and what their answers cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.prefixes import prefixes
from hnexport.evaluate.results import Stopped
from hnexport.evaluate.scores import row_blocks, scores
from hnexport.evaluate.uncertainty import area_under_roc, uncertainties
from hnexport.runtime.uncertainty import summarise
from hnexport.runtime.until import Tally, Until, as_until

__all__ = ["RULES", "Asked", "members_used", "stopped"]

RULES = ("exact", "votes", 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)

Logits = NDArray[np.floating]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How members are asked one after the other.

    Attributes:
        order: their places along the first axis of the logits.
        bundle: the rule that the bundle says; None where it says none.
    """

    order: tuple[int, ...]
    bundle: Until | None = None

    @property
    def rules(self) -> dict[str, Until | None]:
        """Each rule by what a user writes for it; None is all members."""
        own = {} if self.bundle is None else {"bundle": self.bundle}
        return {**{(rule := as_until(one)).text: rule for one in RULES}, **own, "all": None}


def stopped(
    logits: Logits,
    labels: Labels,
    bins: int,
    asked: Asked | None = None,
    others: Logits | None = None,
    against: Logits | None = None,
) -> tuple[Stopped, ...]:
    """The rows of a curve, the fewest members first and all of them last; none of one member alone.

    Args:
        logits: finite, `[member, row, class]`.
        labels: `[row]`.
        bins: of the calibration error.
        asked: None asks members in their order.
        others: likewise of data that do not belong.
        against: the logits from whose answers, of all members, changed ones are counted: `[member, row, class]` in
            float32, say, where `logits` are of int8. None takes `logits`.
    """
    if len(logits) == 1:
        return ()
    asked = asked or Asked(order=tuple(range(len(logits))))
    own, rules = logits[list(asked.order)], asked.rules
    together = prefixes(own, labels)
    answers = together.answers[-1] if against is None else _answers(against)
    used = _used(own, rules)
    found = []
    foreign = {} if others is None else _areas(own, used, others[list(asked.order)], rules)
    for name, taken in used.items():
        rows, said = together.at(taken)
        areas, other_members = foreign.get(name, ({}, None))
        found.append(
            Stopped(
                until=name,
                members=float(taken.mean()),
                scores=scores(rows, bins),
                changed=int((said != answers).sum()),
                ood=areas,
                ood_members=other_members,
            )
        )
    return tuple(sorted(found, key=lambda one: (one.members, one.until == "all")))


def members_used(logits: Logits, rules: Sequence[Until | None]) -> list[Labels]:
    """How many members each row takes, `[row]` by each rule; None is all of them.

    Args:
        logits: `[member, row, class]`, in the order in which members are asked.
    """
    members, rows, classes = logits.shape
    tally, found = Tally(rows, classes), [np.full(rows, members, np.int64) for _ in rules]
    for position in range(members - 1):
        tally.add(logits[position])
        for rule, used in zip(rules, found, strict=True):
            if rule is not None:
                used[rule.holds(tally, members) & (used == members)] = position + 1
    return found


def _used(logits: Logits, rules: Mapping[str, Until | None]) -> dict[str, Labels]:
    parts = [members_used(logits[:, rows], list(rules.values())) for rows in row_blocks(logits)]
    return {name: np.concatenate(each) for name, each in zip(rules, zip(*parts, strict=True), strict=True)}


def _answers(logits: Logits) -> Labels:
    """Of the mean of all members, `[row]`."""
    return np.concatenate([summarise(logits[:, rows]).probabilities.argmax(axis=-1) for rows in row_blocks(logits)])


def _areas(
    own: Logits, used: Mapping[str, Labels], others: Logits, rules: Mapping[str, Until | None]
) -> dict[str, tuple[dict[str, float], float]]:
    """By rule: how well each uncertainty of the members that a row takes finds other data, and how many those take."""
    here, there, foreign = _uncertain(own), _uncertain(others), _used(others, rules)
    found = {}
    for name, taken in foreign.items():
        places = (
            (taken - 1, np.arange(len(taken))),
            (used[name] - 1, np.arange(len(used[name]))),
        )
        areas = {what: area_under_roc(there[what][places[0]], here[what][places[1]]) for what in here}
        found[name] = areas, float(taken.mean())
    return found


def _uncertain(logits: Logits) -> dict[str, Floats]:
    """By uncertainty `[member, row]`: of the first member, of the first two, and so on."""
    parts = [
        [uncertainties(summarise(logits[: number + 1, rows])) for number in range(len(logits))]
        for rows in row_blocks(logits)
    ]
    return {
        name: np.concatenate([np.stack([one[name] for one in part]) for part in parts], axis=-1) for name in parts[0][0]
    }
