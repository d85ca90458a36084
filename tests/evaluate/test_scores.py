"""Scores of class probabilities agree with scikit-learn and with torchmetrics, which share no code with each other."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc, multiclass_accuracy, multiclass_calibration_error

from hnexport.errors import RuntimeInputError
from hnexport.evaluate import scores as parts
from hnexport.evaluate.classification import classify, compared, rows_of
from hnexport.evaluate.scores import Scored, calibration_error, reliability, row_blocks, scored, scores
from hnexport.evaluate.uncertainty import coverage, separation
from hnexport.runtime.uncertainty import log_softmax

ROWS, CLASSES, MEMBERS = 400, 7, 4


Drawn = tuple[NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Logits `[member, row, class]` that know something of the labels `[row]`."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, ROWS)
    logits = random.standard_normal((MEMBERS, ROWS, CLASSES)) * 1.5
    logits += 2.0 * np.eye(CLASSES)[labels]
    return logits, labels


@pytest.mark.parametrize("member", [0, 3])
def test_scores_are_those_of_two_libraries(drawn: Drawn, member: int) -> None:
    logits, labels = drawn
    log_p = log_softmax(logits[member])
    found, p = scores(scored(log_p, labels), 15), np.exp(log_p)
    tensors = torch.from_numpy(p), torch.from_numpy(labels)
    assert found.nll == pytest.approx(log_loss(labels, p), rel=1e-12)
    assert found.nll == pytest.approx(float(F.cross_entropy(torch.from_numpy(logits[member]), tensors[1])), rel=1e-12)
    assert found.brier == pytest.approx(
        brier_score_loss(labels, p, labels=range(CLASSES), scale_by_half=False), rel=1e-12
    )
    assert found.accuracy == pytest.approx(float(multiclass_accuracy(*tensors, CLASSES, average="micro")), rel=1e-6)
    assert found.ece == pytest.approx(float(multiclass_calibration_error(*tensors, CLASSES, n_bins=15)), rel=1e-6)


def test_a_right_class_that_was_ruled_out_costs_what_it_costs() -> None:
    assert scores(scored(log_softmax(np.array([[0.0, 1000.0]])), np.array([0])), 15).nll == pytest.approx(1000.0)


def test_bins_hold_every_row_once_and_a_boundary_belongs_to_the_upper_one() -> None:
    nothing, right = np.zeros(4), np.array([True, False, True, True])
    rows = Scored(likelihood=nothing, squared=nothing, confidence=np.array([0.5, 0.75, 1.0, 0.6]), right=right)
    found = reliability(rows, 4)
    assert [one.count for one in found] == [0, 0, 2, 2]
    assert (found[2].low, found[2].high, found[2].accuracy) == (0.5, 0.75, 1.0)
    assert (found[3].confidence, found[3].accuracy) == (0.875, 0.5)
    assert calibration_error(found) == pytest.approx((2 * 0.45 + 2 * 0.375) / 4)


def test_the_ensemble_is_the_mean_of_probabilities_and_its_gain_is_over_the_mean_of_members(
    drawn: Drawn,
) -> None:
    logits, labels = drawn
    found = classify(logits, labels, 10)
    p = np.exp(log_softmax(logits)).mean(axis=0)
    assert found.ensemble == scores(scored(np.log(p), labels), 10) or found.ensemble.nll == pytest.approx(
        log_loss(labels, p)
    )
    assert found.mean.nll == pytest.approx(np.mean([one.nll for one in found.each]))
    assert found.gain.nll == pytest.approx(found.mean.nll - found.ensemble.nll)
    assert found.gain.accuracy == pytest.approx(found.ensemble.accuracy - found.mean.accuracy)
    assert sum(one.count for one in found.reliability) == ROWS
    assert sum(one.count for one in found.member_reliability) == MEMBERS * ROWS


@pytest.mark.parametrize("at_once", [1, ROWS // 3 * MEMBERS * CLASSES])
def test_rows_in_parts_are_rows_at_once(drawn: Drawn, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn
    whole, difference = classify(logits, labels, 10, logits[:, ::2] / 3), compared(logits, logits[::-1], "first")
    monkeypatch.setattr(parts, "_NUMBERS_AT_ONCE", at_once)
    assert len(list(row_blocks(logits))) > 1
    assert classify(logits, labels, 10, logits[:, ::2] / 3) == whole
    assert compared(logits, logits[::-1], "first") == difference
    broken = logits.copy()
    broken[2, ROWS - 3 :, 1] = np.nan
    with pytest.raises(RuntimeInputError, match=f"3 answers .* number 2 of the members on row {ROWS - 3}:"):
        classify(broken, labels, 10)


def test_diversity_counts_pairs_of_members(drawn: Drawn) -> None:
    logits, labels = drawn
    answers = logits.argmax(axis=-1)
    pairs = [(answers[i] != answers[j]).mean() for i in range(MEMBERS) for j in range(i)]
    found = classify(logits, labels, 10).diversity
    assert found.disagreement == pytest.approx(np.mean(pairs))
    assert found.all_agree == pytest.approx((answers == answers[0]).all(axis=0).mean())
    assert found.any_right == pytest.approx((answers == labels).any(axis=0).mean())
    alone = classify(logits[:1], labels, 10)
    assert (alone.diversity.disagreement, alone.diversity.mutual_information) == (0.0, 0.0)
    assert alone.gain.accuracy == 0.0


def test_separation_is_the_auroc_of_two_libraries_with_ties_too() -> None:
    random = np.random.default_rng(1)
    should, should_not = random.integers(0, 9, 300) / 3 + 0.5, random.integers(0, 9, 200) / 3
    found = separation(should, should_not)
    truth, values = np.r_[np.ones(300, int), np.zeros(200, int)], np.r_[should, should_not]
    assert found.auroc == pytest.approx(roc_auc_score(truth, values))
    # torchmetrics takes what lies outside of 0 to 1 for logits, whose order is the same
    assert found.auroc == pytest.approx(
        float(binary_auroc(torch.from_numpy(values), torch.from_numpy(truth))), rel=1e-6
    )
    threshold = max(value for value in values if (should >= value).mean() >= 0.95)
    assert found.fpr95 == pytest.approx((should_not >= threshold).mean())
    assert separation(should, np.zeros(0)) is None


def test_risk_is_counted_as_a_loop_would_and_ties_are_in_a_random_order() -> None:
    random = np.random.default_rng(2)
    uncertainty, wrong = random.permutation(60) / 7, random.random(60) < 0.3
    order = np.argsort(uncertainty)
    risks = [wrong[order[: count + 1]].mean() for count in range(60)]
    found = coverage(uncertainty, wrong)
    assert found.area == pytest.approx(np.mean(risks))
    assert found.coverage == pytest.approx([(count + 1) / 60 for count in range(60)])
    assert found.risk == pytest.approx(risks)
    ties = np.repeat([0.0, 1.0], 30)
    shuffled = np.mean([_area(ties + 1e-9 * random.permutation(60), wrong) for _ in range(4000)])
    assert coverage(ties, wrong).area == pytest.approx(shuffled, abs=5e-3)
    assert len(coverage(random.random(5000), random.random(5000) < 0.1).risk) <= 101


def _area(uncertainty: Any, wrong: NDArray[np.bool]) -> float:
    return coverage(uncertainty, wrong).area


def test_answers_that_change_are_counted_by_member_and_for_the_ensemble(
    drawn: Drawn,
) -> None:
    logits, _ = drawn
    other = logits.copy()
    best = logits[1, 5].argmax()
    other[1, 5, best] -= 50.0
    found = compared(other, logits, "first")
    assert (found.against, found.answers) == ("first", 1)
    assert found.probabilities > found.ensemble > 0
    same = compared(logits, logits, "first")
    assert (same.probabilities, same.answers, same.ensemble_answers) == (0.0, 0, 0)


def test_positions_of_an_output_with_further_axes_are_rows() -> None:
    logits = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)  # [member, sample, class, position]
    rows = rows_of(logits, axis=1)
    assert rows.shape == (2, 15, 4)
    assert np.array_equal(rows[1, 7], logits[1, 1, :, 2])


def test_answers_that_are_no_numbers_are_refused_by_their_place(
    drawn: Drawn,
) -> None:
    logits, labels = drawn
    broken = logits.copy()
    broken[2, 9, 0] = np.nan
    with pytest.raises(
        RuntimeInputError, match="1 answers are not finite, the first is number 2 of the members on row 9"
    ):
        classify(broken, labels, 10)


def test_thresholds_that_lie_on_a_straight_line_count_too() -> None:
    same = np.arange(20.0)
    assert separation(same, same).fpr95 == pytest.approx(0.95)
