"""A rule is chosen so that what it costs on other data is what was stated."""

import contextlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, binom

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.anytime import members_used
from hnexport.evaluate.bounds import Resamples, enough_rows, share_above, share_below
from hnexport.evaluate.prefixes import prefixes
from hnexport.evaluate.stopping import THRESHOLDS, choose, member_order
from hnexport.runtime import Until


def _ensemble(
    rows: int, seed: int = 0, members: int = 5, noise: float = 0.7
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits of members that are mostly right, and what is."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, rows)
    shared = random.normal(size=(rows, 10))
    shared[np.arange(rows), labels] += 6 * random.random(rows)
    return 2 * (shared + noise * random.normal(size=(members, rows, 10))), labels


def _two_classes(*probabilities: object) -> Any:
    """Logits `[member, row, 2]` of members whose probability of the first class is given for each row."""
    p = np.array(probabilities)
    return np.log(np.stack([p, 1 - p], axis=-1))


@pytest.mark.parametrize(("count", "rows"), [(0, 500), (3, 500), (40, 1000), (999, 1000), (200, 50_000)])
def test_bounds_of_a_share_are_those_of_clopper_and_pearson(count: int, rows: int) -> None:
    assert share_above(count, rows, 0.04) == pytest.approx(beta.ppf(0.96, count + 1, rows - count), rel=1e-9)
    below = beta.ppf(0.01, count, rows - count + 1) if count else 0.0
    assert share_below(count, rows, 0.01) == pytest.approx(below, rel=1e-9)
    assert share_above(rows, rows, 0.05) == 1.0


@pytest.mark.parametrize("share", [0.001, 0.004, 0.02, 0.3])
def test_a_bound_of_few_rows_holds_as_often_as_it_says(share: float) -> None:
    missed = sum(binom.pmf(count, 300, share) for count in range(301) if share_above(count, 300, 0.05) < share)
    assert missed <= 0.05


def test_the_fewest_rows_that_can_show_a_share_are_known() -> None:
    needed = enough_rows(0.005, 0.04)
    assert share_above(0, needed, 0.04) <= 0.005 < share_above(0, needed - 1, 0.04)


def test_the_bound_of_a_calibration_error_is_a_paired_bootstraps() -> None:
    logits, labels = _ensemble(400)
    known = prefixes(logits, labels)
    one, every = (known.at(np.full(400, used))[0] for used in (1, 5))
    rises, random = [], np.random.default_rng(7)
    for _ in range(2000):
        drawn = random.integers(0, 400, 400)
        errors = []
        for part in (one, every):
            sure, right = part.confidence[drawn], part.right[drawn]
            bins = np.minimum((sure * 15).astype(int), 14)
            errors.append(sum(abs((sure - right)[bins == bin_].sum()) for bin_ in range(15)) / 400)
        rises.append(errors[0] - errors[1])
    assert Resamples(400).calibration_rise(one, every, 15, 0.05) == pytest.approx(np.quantile(rises, 0.95), abs=0.003)
    assert Resamples(400).calibration_rise(every, every, 15, 0.05) == 0.0


def test_members_are_ordered_by_what_each_adds_to_those_before_it() -> None:
    # the first is best alone; the second best alone says the same, the third mends it
    logits = _two_classes([0.9, 0.9, 0.3], [0.1, 0.9, 0.9], [0.85, 0.85, 0.28])
    assert member_order(logits, np.zeros(3, np.int64)) == (0, 1, 2)
    assert member_order(logits[[2, 1, 0]], np.zeros(3, np.int64)) == (2, 1, 0)
    assert member_order(logits[[0, 0, 0]], np.zeros(3, np.int64)) == (0, 1, 2)


def test_the_first_members_in_order_are_never_less_likely_than_another_next_one() -> None:
    logits, labels = _ensemble(300, members=6, noise=2.0)
    order = member_order(logits, labels)
    for k in range(6):
        means = {
            member: prefixes(logits[[*order[:k], member]], labels).scored.likelihood[-1].mean() for member in order[k:]
        }
        assert max(means, key=means.get) == order[k]


def test_the_luckiest_of_many_members_does_not_make_a_stated_loss_hold_less_often() -> None:
    # Every member is sure, and wrong by itself on 0.55 % of the rows: one alone loses more than half a point.
    random, chosen, over = np.random.default_rng(0), 0, 0
    for _ in range(40):
        wrong = random.random((30, 800)) < 0.0055
        first = np.where(wrong, -1, 1) * (5 + random.random((30, 800)))
        logits, labels = np.stack([first, np.zeros_like(first)], axis=-1), np.zeros(800, np.int64)
        with contextlib.suppress(RuntimeInputError):
            over += choose(logits, labels, max_accuracy_drop=0.005).members == 1.0
            chosen += 1
    assert chosen > 0
    assert over <= 5  # 2, and chance; 19 where the rows that judge chose the order as well


def test_rows_that_choose_the_order_judge_nothing() -> None:
    logits, labels = _ensemble(1500)
    found = choose(logits, labels, max_accuracy_drop=0.01)
    order, judging = np.split(np.random.default_rng(0).permutation(1500), [150])
    assert (found.rows, found.order_rows) == (1500, 150)
    assert found.order == member_order(logits[:, order], labels[order])
    rest = choose(logits[:, judging], labels[judging], max_accuracy_drop=0.01, order=found.order)
    assert rest.order_rows == 0
    assert (found.confidence, found.accuracy_drop) == (rest.confidence, rest.accuracy_drop)
    used = members_used(logits[list(found.order)], [Until(confidence=found.confidence)])[0]
    assert found.members == used.mean()  # of all rows, and so are the scores
    assert found.all_scores.accuracy == (prefixes(logits, labels).answers[-1] == labels).mean()
    few = choose(logits[:, :9], labels[:9], max_changed=0.9)
    assert (few.order, few.order_rows) == ((0, 1, 2, 3, 4), 0)


def test_the_threshold_is_the_last_one_whose_bound_is_within_what_was_stated() -> None:
    logits, labels = _ensemble(1500)
    found = choose(logits, labels, max_accuracy_drop=0.01, order=member_order(logits, labels))
    drop = found.accuracy_drop
    assert drop.bound is not None
    assert drop.stated is not None
    assert drop.bound <= drop.stated == 0.01
    assert drop.measured < drop.bound
    own = logits[list(found.order)]
    whole = prefixes(own, labels).answers[-1]

    def by(confidence: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        used = members_used(own, [Until(confidence=confidence)])[0]
        return used, prefixes(own, labels).at(used)[1]

    used, answers = by(found.confidence)
    assert (found.members, found.rows) == (used.mean(), 1500)
    assert found.changed.measured == (answers != whole).mean()
    assert found.scores.accuracy == (answers == labels).mean()
    assert found.all_scores.accuracy == (whole == labels).mean()
    bolder = (by(one) for one in THRESHOLDS if one < found.confidence)
    bolder_answers = next(answers for taken, answers in bolder if not np.array_equal(taken, used))
    lost = int(((whole == labels) & (bolder_answers != labels)).sum())
    mended = int(((whole != labels) & (bolder_answers == labels)).sum())
    assert share_above(lost, 1500, 0.04) - share_below(mended, 1500, 0.01) > 0.01


def test_a_smaller_stated_loss_takes_more_members_and_two_losses_take_both() -> None:
    logits, labels = _ensemble(1500)
    little, more = (choose(logits, labels, max_changed=share) for share in (0.01, 0.05))
    assert little.members > more.members
    assert little.confidence > more.confidence
    both = choose(logits, labels, max_changed=0.05, max_ece_rise=0.01)
    assert both.changed.bound is not None
    assert both.changed.bound <= 0.05
    assert both.ece_rise.bound is not None
    assert both.ece_rise.bound <= 0.01
    assert both.members > more.members
    assert choose(logits, labels, max_changed=0.05, max_ece_rise=0.01) == both


@pytest.mark.thorough
def test_what_is_stated_holds_of_the_population_that_the_rows_come_from() -> None:
    logits, labels = _ensemble(20_000, seed=3)
    random, over, chosen = np.random.default_rng(5), 0, []
    for _ in range(20):
        rows = random.choice(20_000, 700, replace=False)
        found = choose(logits[:, rows], labels[rows], max_accuracy_drop=0.01)
        known = prefixes(logits[list(found.order)], labels)
        enough = known.scored.confidence >= found.confidence
        enough[-1] = True
        right = known.at(enough.argmax(axis=0) + 1)[0].right
        over += known.scored.right[-1].mean() - right.mean() > 0.01
        chosen.append(found.members)
    assert over <= 2  # 5 %
    assert np.mean(chosen) < 4


def test_the_loss_is_against_other_logits_where_they_are_given() -> None:
    logits, labels = _ensemble(1500)
    rough = np.round(logits)
    order = (4, 2, 0, 1, 3)
    found = choose(rough, labels, max_changed=0.05, against=logits, order=order)
    used = members_used(rough[list(found.order)], [Until(confidence=found.confidence)])[0]
    answers = prefixes(rough[list(found.order)], labels).at(used)[1]
    assert found.changed.measured == (answers != prefixes(logits, labels).answers[-1]).mean()
    known = choose(logits, labels, max_changed=0.05, order=order).all_scores.nll
    assert found.all_scores.nll == pytest.approx(known, rel=1e-12)


def test_several_smallest_numbers_of_members_share_the_risk() -> None:
    logits, labels = _ensemble(1500)
    each = [choose(logits, labels, max_changed=0.03, least=least, level=0.975) for least in (1, 2, 3)]
    assert [one.least for one in each] == [1, 2, 3]
    found = choose(logits, labels, max_changed=0.03, least=(1, 2), level=0.95)
    assert found.members == min(one.members for one in each[:2])
    assert (found.confidence, found.least) in {(one.confidence, one.least) for one in each[:2]}


def test_too_few_rows_are_refused_with_how_many_it_takes() -> None:
    needed = enough_rows(0.005, 0.04)
    given = needed + needed // 9  # a tenth of them chooses the order
    sure = _two_classes(np.full(given, 0.999999), np.full(given, 0.999999))
    labels = np.zeros(given, np.int64)
    for rows, order in ((given, None), (needed, (0, 1))):
        assert choose(sure[:, :rows], labels[:rows], max_accuracy_drop=0.005, order=order).members == 1.0
        with pytest.raises(RuntimeInputError, match=f"{rows - 1} rows cannot .* it takes {rows}; give more held-out"):
            choose(sure[:, 1:rows], labels[1:rows], max_accuracy_drop=0.005, order=order)


def test_a_calibration_error_cannot_be_shown_to_stay_by_rows_too_few_to_show_an_answer() -> None:
    sure, labels = _two_classes(*[np.full(333, 0.999)] * 2), np.zeros(333, np.int64)
    assert choose(sure, labels, max_ece_rise=0.01).ece_rise.bound == pytest.approx(share_above(0, 300, 0.05))
    with pytest.raises(RuntimeInputError, match="300 rows cannot .* it takes 332; give more held-out"):
        choose(sure[:, :300], labels[:300], max_ece_rise=0.01)


@pytest.mark.parametrize(
    ("labels", "value", "said"),
    [
        (np.arange(99) % 10, 0.0, r"found the shapes \[5, 100, 10\] and \[99\]"),
        (np.full(100, -1), 0.0, "whole numbers from 0 to 9"),
        (np.full(100, 10), 0.0, "whole numbers from 0 to 9"),
        (np.zeros(100), 0.0, "whole numbers from 0 to 9"),
        (np.zeros(100, np.int64), np.nan, "some here are not"),
        (np.zeros(100, np.int64), np.inf, "some here are not"),
    ],
)
def test_a_rule_is_not_chosen_on_what_is_no_logits_and_labels(
    labels: NDArray[np.float64] | NDArray[np.int64], value: float, said: str
) -> None:
    logits = _ensemble(100)[0]
    logits[3, 7, 2] += value
    with pytest.raises(RuntimeInputError, match=said):
        choose(logits, labels, max_changed=0.1)
    if value:
        with pytest.raises(RuntimeInputError, match=said):
            choose(_ensemble(100)[0], labels, max_changed=0.1, against=logits)


def test_what_no_threshold_can_show_is_refused() -> None:
    wrong = _two_classes(np.full(1000, 1 - 1e-9), np.full(1000, 1e-10))  # two members that are sure of the opposite
    with pytest.raises(RuntimeInputError, match="no threshold can be shown to cost so little on 1000 rows"):
        choose(wrong, np.ones(1000, np.int64), max_accuracy_drop=0.01, order=(0, 1))


def test_a_rule_that_stops_nobody_has_a_remark_that_says_what_to_do() -> None:
    logits, labels = _ensemble(2000)
    assert choose(logits, labels, max_changed=0.05).remark == ""
    turned = _two_classes(np.full(2000, 0.9), np.full(2000, 0.01))  # what the first says, the second one changes
    found = choose(turned, np.ones(2000, np.int64), max_changed=0.05, order=(0, 1))
    assert found.members == 2
    assert found.remark.startswith("the rule stops none of 2000 rows before all 2 members are asked")
    assert "state a larger loss, choose it on more held-out data" in found.remark
    assert "at least 5 members are asked, and that is all" in choose(logits, labels, max_changed=0.05, least=5).remark


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "say what stopping may cost"),
        ({"max_accuracy_drop": 0.0}, "max_accuracy_drop is a share above 0 and below 1, found 0.0"),
        ({"max_changed": 1.5}, "max_changed is a share"),
        ({"max_changed": 0.1, "least": 6}, "least is from 1 to 5"),
        ({"max_changed": 0.1, "least": 0}, "least"),
        ({"max_changed": 0.1, "level": 1.0}, "level is a probability"),
        ({"max_changed": 0.1, "order": (0, 1, 2, 3, 3)}, "order has each of 5 members once"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(RuntimeInputError, match=said):
        choose(*_ensemble(100), **asked)


def test_one_member_has_nothing_to_stop() -> None:
    logits, labels = _ensemble(100, members=1)
    with pytest.raises(RuntimeInputError, match="one member is all there is"):
        choose(logits, labels, max_changed=0.1)


def test_thresholds_fall_and_are_rules() -> None:
    assert list(THRESHOLDS) == sorted(set(THRESHOLDS), reverse=True)
    assert {Until(confidence=one).text for one in THRESHOLDS} == {f"{one:g}" for one in THRESHOLDS}
    assert len({Until(confidence=one).text for one in THRESHOLDS}) == len(THRESHOLDS)
