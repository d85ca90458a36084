"""When members that are run one after the other are enough: the rules, on what they have said so far.

Let c lead after k of n members. Each of the n - k others adds a probability of at least 0 to the sum of c, and of at
most 1 to that of another class d. So where `sum_c - sum_d > n - k` for every d, c also has the largest mean over all n.
It is no smaller bound: where the difference is less, members that give d all they have overturn the answer.
With votes the same holds of counts, and of ties too, since the class with the smallest number wins them: c must be
before d where `votes_c - votes_d = n - k`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown
from hnexport.runtime.uncertainty import count_votes, log_softmax
from hnexport.runtime.validation import choice, require_count

__all__ = ["Answer", "Tally", "Until", "as_until"]

ROUNDING = 1e-6
"""By so much may a member's probability differ with the batch that it is computed in: what is exact is so beyond it."""


class Answer(StrEnum):
    """Whose answer stays: of the mean probabilities over all members, or of their votes."""

    MEAN = "mean"
    VOTES = "votes"


@dataclass(frozen=True, kw_only=True)
class Until:
    """How many members a sample takes. Give either `confidence` or `answer`.

    Attributes:
        confidence: as many as it takes for the largest mean probability so far to be at least this, above 0 and below
            1. The answer may be another than that of all members; `hnexport evaluate` says how often on data.
        answer: as many as it takes for the others to be unable to change this answer, whatever they say: "mean" or
            "votes". At least half of the members are needed for that. It is exact to probabilities that are off by
            1e-6, and says nothing of members whose logits are not numbers.
        least: at least so many.

    Raises:
        RuntimeInputError: neither or both are given, or out of range.
    """

    confidence: float | None = None
    answer: Answer | str | None = None
    least: int = 1

    def __post_init__(self) -> None:
        if (self.confidence is None) == (self.answer is None):
            raise RuntimeInputError("give either Until(confidence=0.8) or Until(answer='mean')")
        require_count("least", self.least)
        if self.answer is not None:
            object.__setattr__(self, "answer", choice("answer", Answer, self.answer))
        else:
            object.__setattr__(self, "confidence", _confidence(self.confidence))

    @property
    def text(self) -> str:
        """As a user writes it: "exact", "votes" or "0.8"."""
        if self.answer is None:
            return f"{self.confidence:g}"
        return "exact" if self.answer is Answer.MEAN else "votes"

    def holds(self, tally: "Tally", members: int) -> NDArray[np.bool_]:
        """`[row]`: whether a row needs no more members than it has had of all `members`.

        A row whose mean probabilities are not numbers stays so: no rule but that of votes asks more of it.
        """
        left = members - tally.members
        if tally.members < self.least and left:
            return np.zeros(len(tally.probabilities), np.bool_)
        if self.answer is Answer.VOTES:
            return _lead(tally.votes) >= left
        if self.answer is Answer.MEAN:
            decided = _lead(tally.probabilities) > left + 2 * members * ROUNDING
        else:
            decided = tally.probabilities.max(axis=-1) >= (self.confidence or 0.0) * tally.members
        return np.asarray(decided | np.isnan(tally.probabilities).any(axis=-1) | (left == 0))


class Tally:
    """What members have said so far of some rows.

    Attributes:
        members: how many.
        probabilities: float64 `[row, class]`, their sum.
        votes: int64 `[row, class]`.
    """

    def __init__(self, rows: int, classes: int) -> None:
        self.members = 0
        self.probabilities = np.zeros((rows, classes), np.float64)
        self.votes = np.zeros((rows, classes), np.int64)

    def add(self, logits: NDArray[np.floating]) -> None:
        """One member more.

        Args:
            logits: `[row, class]`.
        """
        self.members += 1
        self.probabilities += np.exp(log_softmax(logits.astype(np.float64)))
        self.votes += count_votes(logits[np.newaxis])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Go on with some rows."""
        self.probabilities, self.votes = self.probabilities[rows], self.votes[rows]


def as_until(given: Any) -> Until:
    """The rule that is meant by "exact", "votes", a probability such as 0.8, or an `Until`.

    "bundle" is none of these: `hnexport.runtime.anytime.bundle_rule` is asked for that.

    Raises:
        RuntimeInputError: it is none of these.
    """
    if isinstance(given, Until):
        return given
    if isinstance(given, str):
        if given in ("exact", "votes"):
            return Until(answer=Answer.MEAN if given == "exact" else Answer.VOTES)
        raise RuntimeInputError(
            f"until is 'exact', 'votes', 'bundle' or a probability such as 0.8, found {shown(given)}"
        )
    return Until(confidence=given)


def _confidence(given: Any) -> float:
    try:
        if isinstance(given, bool | np.bool_ | str):
            raise TypeError
        confidence = float(given)
    except (TypeError, ValueError, RuntimeError):
        raise RuntimeInputError(
            f"until is 'exact', 'votes', 'bundle', a probability such as 0.8 or Until(…), found {shown(given)}"
        ) from None
    if not 0.0 < confidence < 1.0:
        hint = f"; for {confidence:g} % say {confidence / 100:g}" if 1.0 < confidence < 100.0 else ""
        raise RuntimeInputError(f"a confidence is a probability above 0 and below 1, found {shown(given)}{hint}")
    return confidence


def _lead(sums: NDArray[np.generic]) -> NDArray[np.float64]:
    """`[row]`: by how much the answer is ahead of every other class; of votes that lose a tie, one less."""
    rows = np.arange(len(sums))
    answer = sums.argmax(axis=-1)
    ahead = sums[rows, answer][:, np.newaxis] - sums.astype(np.float64)
    if sums.dtype.kind == "i":
        ahead -= np.arange(sums.shape[-1]) < answer[:, np.newaxis]
    ahead[rows, answer] = np.inf
    return np.asarray(ahead.min(axis=-1))
