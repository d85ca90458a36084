"""What members one after the other are worth: how many samples take by each rule, and what their answers cost."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.results import Stopped
from hnexport.evaluate.scores import Scored, joined, row_blocks, scored, scores
from hnexport.runtime.uncertainty import log_softmax
from hnexport.runtime.until import Tally, Until, as_until

__all__ = ["RULES", "members_used", "stopped"]

RULES = ("exact", "votes", 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)

Logits = NDArray[np.floating]
Labels = NDArray[np.int64]


def stopped(logits: Logits, labels: Labels, bins: int) -> tuple[Stopped, ...]:
    """The rows of a curve, the fewest members first and all of them last; none of one member alone.

    Args:
        logits: finite, `[member, row, class]`, in the order in which members are asked.
        labels: `[row]`.
        bins: of the calibration error.
    """
    if len(logits) == 1:
        return ()
    rules = [as_until(rule) for rule in RULES]
    parts: list[list[tuple[NDArray[np.int64], Scored, NDArray[np.bool_]]]] = [[] for _ in (*rules, None)]
    for rows in row_blocks(logits):
        block = logits[:, rows]
        log_p = log_softmax(block.astype(np.float64))
        means = np.logaddexp.accumulate(log_p, axis=0) - np.log(np.arange(1, len(log_p) + 1))[:, np.newaxis, np.newaxis]
        answers = means[-1].argmax(axis=-1)
        for part, used in zip(parts, members_used(block, (*rules, None)), strict=True):
            mean = means[used - 1, np.arange(len(used))]
            part.append((used, scored(mean, labels[rows]), mean.argmax(axis=-1) != answers))
    names = [*(rule.text for rule in rules), "all"]
    found = [_row(name, part, bins) for name, part in zip(names, parts, strict=True)]
    return tuple(sorted(found, key=lambda one: (one.members, one.until == "all")))


def members_used(logits: Logits, rules: Sequence[Until | None]) -> list[NDArray[np.int64]]:
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


def _row(name: str, parts: Sequence[tuple[NDArray[np.int64], Scored, NDArray[np.bool_]]], bins: int) -> Stopped:
    used, rows, changed = zip(*parts, strict=True)
    return Stopped(
        until=name,
        members=float(np.concatenate(used).mean()),
        scores=scores(joined(rows), bins),
        changed=int(np.concatenate(changed).sum()),
    )
