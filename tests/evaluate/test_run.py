"""`evaluate` says of a bundle what its members' own logits say."""

from pathlib import Path

import numpy as np
import pytest
from digits import Split
from shared import Built
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from hnexport.errors import BundleError, RuntimeInputError
from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.runtime import LoadedEnsemble, load


@pytest.fixture(scope="module")
def loaded(digits: Built) -> LoadedEnsemble:
    return load(digits.path, provider="cpu")


@pytest.fixture
def strange(tmp_path: Path, tested: Split) -> Path:
    """Digits whose pixels are shuffled."""
    order = np.random.default_rng(0).permutation(64)
    np.savez(tmp_path / "strange.npz", input=tested.images.reshape(-1, 64)[:, order].reshape(-1, 1, 8, 8))
    return tmp_path / "strange.npz"


def test_members_and_ensemble_have_the_scores_of_their_predictions(
    digits: Built, archive: Path, tested: Split, loaded: LoadedEnsemble
) -> None:
    found = evaluate(digits.path, archive, options=EvaluateOptions(provider="cpu"))
    assert (found.samples, found.members, found.digest) == (len(tested.labels), (0, 1, 2), digits.digest)
    (source,) = found.sources
    assert (source.name, source.difference) == ("runtime", None)
    logits = loaded.predict(tested.images, members="all")
    for member, score in zip(logits, source.classification.each, strict=True):
        assert score.accuracy == accuracy_score(tested.labels, member.argmax(axis=-1))
    mean = loaded.predict_mean(tested.images).probabilities
    assert source.classification.ensemble.nll == pytest.approx(log_loss(tested.labels, mean), rel=1e-6)
    assert source.classification.ensemble.accuracy > 0.9  # it has learned to read


def test_disagreement_separates_what_does_not_belong(
    digits: Built, archive: Path, strange: Path, tested: Split, loaded: LoadedEnsemble
) -> None:
    found = evaluate(digits.path, archive, options=EvaluateOptions(ood=strange, provider="cpu"))
    own, other = loaded.predict_mean(tested.images), loaded.predict_mean(np.load(strange)["input"])
    truth = np.repeat([0, 1], len(tested.labels))
    (source,) = found.sources
    for name in ("predictive_entropy", "mutual_information"):
        expected = roc_auc_score(truth, np.concatenate([getattr(own, name), getattr(other, name)]))
        assert source.classification.ood[name.removeprefix("predictive_")].auroc == pytest.approx(expected)
    assert source.classification.ood["mutual_information"].auroc > 0.75
    assert found.ood_samples == len(tested.labels)


def test_some_members_are_evaluated_alone(digits: Built, archive: Path) -> None:
    whole = evaluate(digits.path, archive).sources[0].classification
    found = evaluate(digits.path, archive, options=EvaluateOptions(members=[2, 0]))
    assert found.members == (2, 0)
    assert found.sources[0].classification.each == (whole.each[2], whole.each[0])


def test_options_that_mean_nothing_are_refused(digits: Built, archive: Path) -> None:
    for options, message in (
        (EvaluateOptions(bins=0), "bins must be a whole number from 1"),
        (EvaluateOptions(output="scores"), "'scores' is no output that can be evaluated: choose among logits"),
        (EvaluateOptions(members=[3]), "member 3 does not exist"),
    ):
        with pytest.raises(RuntimeInputError, match=message):
            evaluate(digits.path, archive, options=options)
    with pytest.raises(BundleError, match="digest"):
        evaluate(digits.path, archive, options=EvaluateOptions(digest="sha256:" + "0" * 64))
