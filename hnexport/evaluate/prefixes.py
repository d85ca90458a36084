"""What the first members say together, for each number of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.evaluate.scores import Scored, joined, row_blocks, scored
from hnexport.runtime.uncertainty import log_softmax

__all__ = ["Prefixes", "prefixes"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefixes:
    """The mean probabilities of the first k members, k - 1 being the place along the first axis of `[member, row]`.

    Attributes:
        scored: against the right classes.
        answers: the most probable class.
    """

    scored: Scored
    answers: NDArray[np.int64]

    def at(self, used: NDArray[np.int64]) -> tuple[Scored, NDArray[np.int64]]:
        """Each row's own, `[row]`, where it takes so many members `[row]`."""
        place = used - 1, np.arange(len(used))
        return Scored(**{name: values[place] for name, values in vars(self.scored).items()}), self.answers[place]

    def of(self, rows: NDArray[np.int64]) -> "Prefixes":
        """Of these rows alone."""
        found = Scored(**{name: values[:, rows] for name, values in vars(self.scored).items()})
        return Prefixes(scored=found, answers=self.answers[:, rows])


def prefixes(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Prefixes:
    """Of logits `[member, row, class]`, the members in the order in which they are asked, and right classes `[row]`."""
    parts, answers = [], []
    counts = np.log(np.arange(1, len(logits) + 1))[:, np.newaxis, np.newaxis]
    for rows in row_blocks(logits):
        means = np.logaddexp.accumulate(log_softmax(logits[:, rows].astype(np.float64)), axis=0) - counts
        parts.append(scored(means, labels[rows]))
        answers.append(means.argmax(axis=-1))
    return Prefixes(scored=joined(parts), answers=np.concatenate(answers, axis=-1))
