"""The curve of members one after the other says what `predict_mean` would do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits import Split
from numpy.typing import NDArray
from shared import Built
from sklearn.metrics import roc_auc_score

from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.evaluate.anytime import RULES, Asked, stopped
from hnexport.evaluate.uncertainty import uncertainties
from hnexport.runtime import Until, load
from hnexport.runtime.anytime import predict_until
from hnexport.runtime.until import as_until
from hnexport.spec import OutputKind, OutputSpec, Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="row", dtype="int64", shape=("batch",)),),
    outputs=(OutputSpec(name="logits", dtype="float64", shape=("batch", "class"), kind=OutputKind.LOGITS, axis=1),),
)


def test_the_curve_is_what_predict_mean_gives(digits: Built, tested: Split, archive: Path) -> None:
    ensemble = load(digits.path, provider="cpu", check="none")
    order = [2, 0, 1]
    whole = ensemble.predict_mean(tested.images, members=order).probabilities
    found = evaluate(digits.path, archive, options=EvaluateOptions(members=order, provider="cpu"))
    rows = found.sources[0].classification.stopped
    assert {one.until for one in rows} == {"all", *(as_until(rule).text for rule in RULES)}
    assert [one.members for one in rows] == sorted(one.members for one in rows)
    for one in rows:
        if one.until == "all":
            continue
        until = one.until if one.until in ("exact", "votes") else float(one.until)
        known = ensemble.predict_mean(tested.images, members=order, until=until)
        assert one.members == pytest.approx(known.members_used.mean())
        answers = known.probabilities.argmax(axis=-1)
        assert one.changed == (answers != whole.argmax(axis=-1)).sum()
        assert one.scores.accuracy == pytest.approx((answers == tested.labels).mean())
        own = known.probabilities[np.arange(len(answers)), tested.labels]
        assert one.scores.nll == pytest.approx(-np.log(own).mean(), rel=1e-4)


def test_exact_changes_nothing_and_all_takes_all() -> None:
    random = np.random.default_rng(0)
    found = stopped(3 * random.standard_normal((5, 400, 4)), random.integers(0, 4, 400), 15)
    by_rule = {one.until: one for one in found}
    assert by_rule["exact"].changed == 0
    assert 3 <= by_rule["exact"].members < 5
    assert by_rule["all"].members == 5.0
    assert by_rule["0.5"].members < by_rule["0.8"].members < by_rule["0.99"].members
    assert by_rule["0.5"].changed > 0


def test_one_member_has_no_curve() -> None:
    assert stopped(np.zeros((1, 3, 2)), np.zeros(3, np.int64), 15) == ()


def test_uncertainty_of_the_members_that_a_row_takes_finds_other_data() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 4, 300)
    own = 2 * random.standard_normal((4, 300, 4)) + 5 * np.eye(4)[labels]
    other = 2 * random.standard_normal((4, 150, 4)) + 2 * np.eye(4)[random.integers(0, 4, 150)]
    order = (2, 0, 3, 1)
    found = stopped(own, labels, 15, Asked(order=order, bundle=Until(confidence=0.85, least=2)), other)
    assert {"bundle", "all", "0.9"} <= {one.until for one in found}

    def uncertain(logits: NDArray[np.float64], until: Until) -> tuple[dict[str, NDArray[np.float64]], Any]:
        run = lambda member, inputs: {"logits": logits[member, inputs["row"]]}  # noqa: E731
        said = predict_until(run, SIGNATURE, order, {"row": np.arange(logits.shape[1])}, until)
        return uncertainties(said), said.members_used.mean()

    rules = {"bundle": Until(confidence=0.85, least=2), "0.9": as_until(0.9), "exact": as_until("exact")}
    for one in found:
        if one.until not in rules:
            continue
        (here, taken), (there, others) = (uncertain(logits, rules[one.until]) for logits in (own, other))
        assert (one.members, one.ood_members) == (pytest.approx(taken), pytest.approx(others))  # type: ignore[comparison-overlap] # approx is compared with numbers
        for name, area in one.ood.items():
            truth = np.repeat([1, 0], [150, 300])
            assert area == pytest.approx(roc_auc_score(truth, np.concatenate([there[name], here[name]])), abs=1e-9)
    assert set(found[0].ood) == {"entropy", "mutual_information", "confidence"}
    assert stopped(own, labels, 15)[0].ood == {}
