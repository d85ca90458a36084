"""Scores of values agree with scoringrules and SciPy; a bundle whose output is a value is evaluated by them."""

from pathlib import Path

import numpy as np
import pytest
import scoringrules
from diabetes import TrainedRegressors, held_out
from numpy.typing import NDArray
from scipy import stats
from shared import built_kind
from sklearn.metrics import root_mean_squared_error

from hnexport.errors import RuntimeInputError
from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.evaluate.page import evaluation_page
from hnexport.evaluate.values import compared_values, crps_normal, crps_of, regress
from hnexport.runtime import load

Drawn = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Values `[member, sample, element]` around targets `[sample, element]`."""
    random = np.random.default_rng(0)
    targets = random.standard_normal((200, 3))
    return targets + 0.5 * random.standard_normal((5, 200, 3)) + 0.1, targets


def test_scores_are_those_of_two_libraries(drawn: Drawn) -> None:
    values, targets = drawn
    found, mean, deviation = regress(values, targets), values.mean(axis=0), values.std(axis=0)
    assert found.rmse == pytest.approx(np.sqrt(((mean - targets) ** 2).mean()))
    assert found.each[2] == pytest.approx(root_mean_squared_error(targets.ravel(), values[2].ravel()))
    assert found.nll == pytest.approx(-stats.norm(mean, deviation).logpdf(targets).mean(), rel=1e-12)
    assert found.crps == pytest.approx(scoringrules.crps_normal(targets, mean, deviation).mean(), rel=1e-9)
    members = scoringrules.crps_ensemble(targets, values, m_axis=0, estimator="nrg")
    assert found.crps_members == pytest.approx(np.mean(members), rel=1e-9)
    assert found.gain == pytest.approx(found.mean - found.rmse)
    inside = {one.nominal: one.observed for one in found.intervals}
    low, high = stats.norm(mean, deviation).interval(0.9)
    assert inside[0.9] == pytest.approx(((targets >= low) & (targets <= high)).mean())


def test_one_value_alone_has_the_distance_as_its_score(drawn: Drawn) -> None:
    values, targets = drawn
    alone = regress(values[:1], targets)
    assert (alone.nll, alone.crps, alone.intervals) == (None, None, ())
    assert alone.crps_members == pytest.approx(np.abs(values[0] - targets).mean())
    assert alone.each_absolute[0] == pytest.approx(alone.crps_members)
    assert crps_normal(targets, values[0], np.zeros_like(targets)) == pytest.approx(np.abs(values[0] - targets))
    assert crps_of(values[:1], targets) == pytest.approx(np.abs(values[0] - targets))


def test_members_that_agree_on_what_is_wrong_are_infinitely_wrong(
    drawn: Drawn,
) -> None:
    values, targets = drawn
    assert regress(np.repeat(values[:1], 3, axis=0), targets).nll == np.inf


def test_values_that_are_no_numbers_are_refused_by_their_place(
    drawn: Drawn,
) -> None:
    values, targets = drawn
    broken = values.copy()
    broken[1, 7, 2] = np.inf
    with pytest.raises(
        RuntimeInputError, match="1 values are not finite, the first is number 1 of the members on row 7"
    ):
        regress(broken, targets)


def test_the_largest_difference_of_a_number_is_told(drawn: Drawn) -> None:
    values, _ = drawn
    other = values.copy()
    other[1, 7, 2] += 0.5
    assert compared_values(other, values, "first").probabilities == pytest.approx(0.5)
    assert compared_values(other, values, "first").ensemble == pytest.approx(0.1)


def test_a_bundle_of_values_is_evaluated_from_every_source(tmp_path: Path) -> None:
    bundle = built_kind("diabetes", TrainedRegressors()).path
    features, targets = held_out()
    np.savez(tmp_path / "test.npz", input=features, target=targets)
    np.savez(tmp_path / "far.npz", input=features * np.float32(4))
    options = EvaluateOptions(ood=tmp_path / "far.npz", artifacts=("onnx", "pt2"), provider="cpu")
    found = evaluate(bundle, tmp_path / "test.npz", options=options)
    assert [source.name for source in found.sources] == ["float64", "runtime", "onnx", "pt2"]
    assert all(source.difference.probabilities < 1e-5 for source in found.sources[1:])
    part, values = found.sources[1].regression, load(bundle, provider="cpu").predict_mean(features)
    assert part.rmse == pytest.approx(np.sqrt(((values.mean - targets) ** 2).mean()))
    assert part.rmse < 0.9  # the targets deviate by 1
    assert part.ood.auroc > 0.8
    page = evaluation_page(found)
    assert f"{found.sources[0].regression.rmse:.4g}" in page
    assert page.count("<tr><td>member ") == 3


def test_targets_of_values_are_finite_numbers(tmp_path: Path) -> None:
    bundle = built_kind("diabetes", TrainedRegressors()).path
    np.savez(tmp_path / "test.npz", input=np.zeros((2, 10), np.float32), target=np.array([[0.0], [np.nan]]))
    with pytest.raises(RuntimeInputError, match="a target is not finite"):
        evaluate(bundle, tmp_path / "test.npz")
    np.savez(tmp_path / "flat.npz", input=np.zeros((2, 10), np.float32), target=np.zeros(2))
    with pytest.raises(RuntimeInputError, match=r"expected shape \[batch, 1\], found \[2\]"):
        evaluate(bundle, tmp_path / "flat.npz")
