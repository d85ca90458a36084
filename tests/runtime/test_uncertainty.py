"""Mean prediction, predictive entropy and mutual information, against values known in closed form."""

import numpy as np
import pytest
from scipy.special import entr, softmax

from hnexport.errors import RuntimeInputError
from hnexport.runtime.uncertainty import log_softmax, summarise


def test_members_that_agree_have_no_mutual_information() -> None:
    logits = np.repeat(np.random.default_rng(0).standard_normal((1, 5, 4)), 7, axis=0)
    prediction = summarise(logits)
    np.testing.assert_allclose(prediction.mutual_information, 0.0, atol=1e-15)
    assert (prediction.mutual_information >= 0.0).all()
    np.testing.assert_allclose(prediction.predictive_entropy, entr(softmax(logits[0], axis=-1)).sum(-1), rtol=1e-12)


def test_members_that_are_sure_of_different_classes_disagree_by_the_log_of_their_number() -> None:
    logits = 1000.0 * np.eye(4)[:, np.newaxis]
    prediction = summarise(logits)
    np.testing.assert_allclose(prediction.mutual_information, np.log(4), rtol=1e-12)
    np.testing.assert_allclose(prediction.predictive_entropy, np.log(4), rtol=1e-12)
    assert prediction.votes.tolist() == [[1, 1, 1, 1]]


def test_entropy_is_mutual_information_and_the_members_mean_entropy() -> None:
    logits = np.random.default_rng(1).standard_normal((6, 8, 5)) * 3
    prediction = summarise(logits)
    own = entr(softmax(logits, axis=-1)).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(prediction.predictive_entropy - own, prediction.mutual_information, rtol=1e-10)
    np.testing.assert_allclose(prediction.probabilities, softmax(logits, axis=-1).mean(axis=0), rtol=1e-12)


def test_a_disagreement_far_below_rounding_of_the_entropies_is_still_measured() -> None:
    logits = np.zeros((2, 1, 2))
    logits[0, 0, 0] = 1e-9
    # Two Bernoulli distributions that differ by d = 1e-9 / 4 have d^2 / 2 nats of mutual information.
    found = summarise(logits).mutual_information[0]
    assert 0.0 <= found < 1e-15


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4, 1e30], ids=str)
def test_logits_of_any_size_give_finite_numbers(scale: float) -> None:
    prediction = summarise((np.random.default_rng(2).standard_normal((3, 4, 6)) * scale).astype(np.float32))
    for values in (prediction.probabilities, prediction.predictive_entropy, prediction.mutual_information):
        assert np.isfinite(values).all()
    np.testing.assert_allclose(prediction.probabilities.sum(axis=-1), 1.0, rtol=1e-12)
    assert (prediction.predictive_entropy <= np.log(6) * (1 + 1e-12)).all()
    assert (prediction.mutual_information <= np.log(3) * (1 + 1e-12)).all()


def test_a_class_that_one_member_excludes_is_no_reason_for_nan() -> None:
    logits = np.array([[[0.0, -np.inf]], [[-np.inf, 0.0]]])
    prediction = summarise(logits)
    assert prediction.probabilities.tolist() == [[0.5, 0.5]]
    np.testing.assert_allclose(prediction.mutual_information, np.log(2))


def test_a_class_that_all_members_exclude_is_no_reason_for_nan() -> None:
    prediction = summarise(np.array([[[0.0, 0.0, -np.inf]], [[0.0, 0.0, -np.inf]]]))
    np.testing.assert_allclose(prediction.predictive_entropy, np.log(2))
    np.testing.assert_allclose(prediction.mutual_information, 0.0, atol=1e-15)


def test_nan_logits_make_only_their_own_image_nan_and_get_no_votes() -> None:
    logits = np.random.default_rng(3).standard_normal((3, 2, 4))
    whole = summarise(logits)
    logits[1, 0] = np.nan
    broken = summarise(logits)
    assert np.isnan(broken.probabilities[0]).all()
    assert np.isnan(broken.predictive_entropy[0])
    assert np.isnan(broken.mutual_information[0])
    assert np.array_equal(broken.probabilities[1], whole.probabilities[1])
    assert broken.votes.sum(axis=-1).tolist() == [2, 3]


def test_member_probabilities_are_each_members_softmax() -> None:
    logits = np.random.default_rng(4).standard_normal((3, 2, 4)).astype(np.float32)
    np.testing.assert_allclose(summarise(logits).member_probabilities, softmax(logits.astype(float), -1), rtol=1e-12)


def test_log_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(log_softmax(np.array([[1e300, 0.0]])), [[0.0, -1e300]])


@pytest.mark.parametrize("shape", [(2,), (0, 2, 3), (2, 2, 0)], ids=str)
def test_logits_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeInputError, match=r"expected logits \[member, batch, class\]"):
        summarise(np.zeros(shape))
