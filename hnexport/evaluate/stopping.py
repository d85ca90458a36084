"""Which members are asked first, and how sure they have to be, so that stopping costs no more than was stated.

Thresholds are tried from the most cautious one on, and the first that fails ends the search: so none has to pay for the
others that were tried (fixed sequence testing, as "Learn then Test" has it, Angelopoulos et al. 2021, arXiv 2110.01052;
for early exits Jazbec et al. 2024, arXiv 2405.20915). A threshold passes where the bound of each stated loss is within
it, not where what the rows show is: see `hnexport.evaluate.bounds`. Numpy alone is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.bounds import Resamples, enough_rows, share_above, share_below
from hnexport.evaluate.measures import Loss
from hnexport.evaluate.prefixes import Prefixes, prefixes
from hnexport.evaluate.results import ChosenUntil
from hnexport.evaluate.scores import Scored, row_blocks, scored, scores
from hnexport.reading import shown
from hnexport.runtime.uncertainty import log_softmax
from hnexport.runtime.validation import require_count
from hnexport.spelling import spelled

__all__ = ["THRESHOLDS", "StatedLoss", "choose", "member_order"]

THRESHOLDS: tuple[float, ...] = (
    0.999999,
    *(
        round(1.0 - size * 10.0**-power, power + 1)
        for power in (6, 5, 4, 3)
        for size in (2, 3, 4, 5, 6, 7, 8, 9, *((10, 15) if power > 3 else ()))
    ),
    *(round(1.0 - size / 1000, 3) for size in (10, 15, 20, 25, 30, 35, 40, 45, 50)),
    *(round(1.0 - size / 100, 2) for size in range(6, 96)),
)
"""Those that are tried, from the most cautious one on: chosen before any data are seen."""
_ORDERING = 10
"""One row of so many chooses the order of members, and nothing else: an order suits the rows that chose it."""
_HARDLY = 0.01
"""A rule that stops fewer rows than this share is remarked on."""
_LOST = 0.8
"""The share of the risk that is given to the answers that stopping loses; the rest to those that it mends."""

Logits = NDArray[np.floating]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StatedLoss:
    """What stopping may cost, as shares; None where nothing is said. See `choose`.

    Raises:
        RuntimeInputError: nothing is said at all, or a number is no share.
    """

    max_accuracy_drop: float | None = None
    max_changed: float | None = None
    max_ece_rise: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            flags = {name: spelled(f"{name}=", f"--{name.replace('_', '-')}") for name in vars(self)}
            raise RuntimeInputError(f"say what stopping may cost: {', '.join(flags.values())}")
        for name, value in given.items():
            if not 0.0 < value < 1.0:
                flag = spelled(name, f"--{name.replace('_', '-')}")
                raise RuntimeInputError(f"{flag} is a share above 0 and below 1, found {shown(value)}")


def member_order(logits: Logits, labels: Labels) -> tuple[int, ...]:
    """Which members come first: the one with the largest likelihood, then always the one that adds most to the mean's.

    So the first k are a good ensemble of k, for every k. Of equal ones the first is taken.

    Args:
        logits: finite, `[member, row, class]`.
        labels: `[row]`.
    """
    blocks = row_blocks(logits)
    found = [scored(log_softmax(logits[:, rows].astype(np.float64)), labels[rows]).likelihood for rows in blocks]
    likelihood = np.concatenate(found, axis=-1)
    order, left = [], list(range(len(likelihood)))
    together = np.full(likelihood.shape[1], -np.inf)
    while left:
        best = left[int(np.argmax([np.logaddexp(together, likelihood[member]).mean() for member in left]))]
        together = np.logaddexp(together, likelihood[best])
        order.append(best)
        left.remove(best)
    return tuple(order)


def choose(
    logits: Logits,
    labels: Labels,
    *,
    max_accuracy_drop: float | None = None,
    max_changed: float | None = None,
    max_ece_rise: float | None = None,
    against: Logits | None = None,
    order: Sequence[int] | None = None,
    least: int | Sequence[int] = 1,
    level: float = 0.95,
    bins: int = 15,
) -> ChosenUntil:
    """The order of members, and the threshold with which they take the fewest for a stated loss.

    Everything is judged against the mean probabilities of all members, by what held-out rows show of rows like them:

    - `max_accuracy_drop`: the share of answers that stopping loses, at the upper end of its exact binomial interval,
      less the share that it mends at the lower end; both together hold with the probability `level`;
    - `max_changed`: the share of answers that are others, at the upper end of its exact binomial interval;
    - `max_ece_rise`: by how much the calibration error is larger, at the quantile `level` of a paired bootstrap, and
      at least the share that may be sure and wrong though none of so many rows shows it.

    Each that is stated has to hold. The order is that of `member_order` on every tenth row, drawn with a fixed seed;
    the others judge thresholds. The best of many members is partly the luckiest: on rows that chose it, it loses less
    than on others. Rows count as independent of each other.

    Args:
        logits: finite, `[member, row, class]`, of two members or more; with a temperature divided by it.
        labels: `[row]`, the right classes.
        against: the logits with which the loss is compared, where others computed them: `[member, row, class]` in
            float32, say, where `logits` are of int8. None takes `logits`.
        order: of places along the first axis, chosen on other rows; then all rows judge. None chooses it.
        least: at least so many members. With several numbers each is tried, the risk is shared among them, and the one
            that takes the fewest members in the end is chosen.
        level: probability with which each loss is within what was stated.
        bins: of the calibration error.

    Raises:
        RuntimeInputError: nothing is stated, logits or labels are not such, a number is out of range, or no threshold
            can be shown to lose so little.
    """
    _check(logits, labels)
    if against is not None:
        _check(against, labels)
    stated = StatedLoss(max_accuracy_drop=max_accuracy_drop, max_changed=max_changed, max_ece_rise=max_ece_rise)
    leasts = _leasts(least, len(logits))
    if not 0.5 <= level < 1.0:
        raise RuntimeInputError(f"level is a probability from 0.5 to below 1, found {shown(level)}")
    judging = np.arange(len(labels))
    if order is None:
        order, judging = _ordered(logits, labels)
    order = tuple(order)
    if sorted(order) != list(range(len(logits))):
        raise RuntimeInputError(f"order has each of {len(logits)} members once, found {shown(list(order))}")
    own = prefixes(logits[list(order)], labels)
    known = own if against is None else prefixes(against, labels)
    all_of = known.at(np.full(len(labels), len(known.answers), np.int64))
    reference = known.of(judging).at(np.full(len(judging), len(known.answers), np.int64))
    search = _Search(own.of(judging), reference, stated, (1.0 - level) / len(leasts), bins)
    found = [one for number in leasts if (one := search.last_good(number)) is not None]
    if not found:
        raise RuntimeInputError(_why_none(stated, len(labels), len(judging), search.risk))
    confidence, least, judged = min(found, key=lambda one: one[2].mean())
    used = _used(own, confidence, least)
    drop, changed, rise = search.losses(judged)
    return ChosenUntil(
        order=order,
        confidence=confidence,
        least=least,
        rows=len(labels),
        order_rows=len(labels) - len(judging),
        level=level,
        members=float(used.mean()),
        scores=scores(own.at(used)[0], bins),
        all_scores=scores(all_of[0], bins),
        accuracy_drop=drop,
        changed=changed,
        ece_rise=rise,
        remark=_stops_nobody(used, len(order), least),
    )


def _stops_nobody(used: Labels, members: int, least: int) -> str:
    """What to think of a rule by which hardly any row takes fewer members than all; empty elsewhere."""
    stopped = int((used < members).sum())
    if stopped >= _HARDLY * len(used):
        return ""
    what = f"{stopped} of {len(used)} rows" if stopped else f"none of {len(used)} rows"
    if least == members:
        return f"the rule stops {what}: at least {members} members are asked, and that is all of them; say fewer"
    return (
        f"the rule stops {what} before all {members} members are asked, so that it saves nothing: on so many rows no "
        "threshold that stops more is shown to cost as little as was stated; state a larger loss, choose it on more "
        "held-out data, or do without a rule"
    )


class _Search:
    """What thresholds cost.

    Args:
        own: the members in their order.
        reference: all members, each row's scores and answer.
        risk: that a bound of one threshold does not hold.
    """

    def __init__(
        self, own: Prefixes, reference: tuple[Scored, Labels], stated: StatedLoss, risk: float, bins: int
    ) -> None:
        self.own, self.reference, self.stated, self.risk, self.bins = own, reference, stated, risk, bins
        self.resamples = None if stated.max_ece_rise is None else Resamples(len(reference[1]))

    def last_good(self, least: int) -> tuple[float, int, Labels] | None:
        """The last threshold before the first one that costs too much, and how many members each row takes by it."""
        found, before = None, None
        for confidence in THRESHOLDS:
            used = _used(self.own, confidence, least)
            if before is not None and np.array_equal(used, before):
                continue  # of thresholds that take the same members the most cautious one
            if not self._is_within(used):
                break
            found, before = (confidence, least, used), used
        return found

    def _is_within(self, used: Labels) -> bool:
        return all(loss.stated is None or (loss.bound or 0.0) <= loss.stated for loss in self.losses(used))

    def losses(self, used: Labels) -> tuple[Loss, Loss, Loss]:
        """Of accuracy, of answers and of calibration."""
        (found, answers), (known, known_answers) = self.own.at(used), self.reference
        rows, stated = len(used), self.stated
        lost, mended = int((known.right & ~found.right).sum()), int((found.right & ~known.right).sum())
        lower = share_below(mended, rows, (1.0 - _LOST) * self.risk)
        drop = share_above(lost, rows, _LOST * self.risk) - lower
        others = int((answers != known_answers).sum())
        rise = scores(found, self.bins).ece - scores(known, self.bins).ece
        worst = None
        if self.resamples is not None:
            seen = self.resamples.calibration_rise(found, known, self.bins, self.risk)
            worst = max(seen, share_above(0, rows, self.risk))
        return (
            Loss(stated=stated.max_accuracy_drop, measured=(lost - mended) / rows, bound=drop),
            Loss(stated=stated.max_changed, measured=others / rows, bound=share_above(others, rows, self.risk)),
            Loss(stated=stated.max_ece_rise, measured=rise, bound=worst),
        )


def _used(own: Prefixes, confidence: float, least: int) -> Labels:
    """How many members each row takes; a lower threshold never takes more."""
    enough = own.scored.confidence >= confidence
    enough[: least - 1] = False
    enough[-1] = True
    return np.asarray(enough.argmax(axis=0) + 1)


def _leasts(least: int | Sequence[int], members: int) -> tuple[int, ...]:
    found = tuple(least) if isinstance(least, Sequence) else (least,)
    if members < 2:
        raise RuntimeInputError("one member is all there is: nothing can be stopped")
    for number in found:
        require_count("least", number)
    if not found or max(found) > members:
        raise RuntimeInputError(f"least is from 1 to {members}, the number of members, found {shown(least)}")
    return found


def _check(logits: Logits, labels: Labels) -> None:
    if logits.ndim != 3 or labels.shape != logits.shape[1:2] or not logits.size:
        raise RuntimeInputError(
            "expected logits [member, row, class] and labels [row], found the shapes "
            f"{list(logits.shape)} and {list(labels.shape)}"
        )
    if not all(np.isfinite(logits[:, rows]).all() for rows in row_blocks(logits)):
        raise RuntimeInputError("logits are finite numbers: some here are not, and no rule can be chosen on them")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= logits.shape[-1]:
        raise RuntimeInputError(f"labels are classes, whole numbers from 0 to {logits.shape[-1] - 1}")


def _ordered(logits: Logits, labels: Labels) -> tuple[tuple[int, ...], Labels]:
    """The order of members, and the rows that had no part in it; of few rows that as they are, and all."""
    drawn = np.random.default_rng(0).permutation(len(labels))
    ordering, judging = np.split(drawn, [len(labels) // _ORDERING])
    if not len(ordering):
        return tuple(range(len(logits))), np.sort(judging)
    return member_order(logits[:, ordering], labels[ordering]), np.sort(judging)


def _why_none(stated: StatedLoss, rows: int, judging: int, risk: float) -> str:
    """What stands in the way: too few rows for what was stated, or what they show."""
    needed = max(
        0 if stated.max_accuracy_drop is None else enough_rows(stated.max_accuracy_drop, _LOST * risk),
        *(0 if share is None else enough_rows(share, risk) for share in (stated.max_changed, stated.max_ece_rise)),
    )
    if judging < needed:
        needed += (needed - 1) // (_ORDERING - 1) if judging < rows else 0  # those that choose the order
        return (
            f"{rows} rows cannot show that stopping costs so little: even if no answer changes it takes {needed}; "
            "give more held-out data, or state a larger loss"
        )
    return (
        f"no threshold can be shown to cost so little on {rows} rows: even {THRESHOLDS[0]:g} may cost more; "
        "give more held-out data, or state a larger loss"
    )
