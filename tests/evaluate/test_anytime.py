"""The curve of members one after the other says what `predict_mean` would do."""

import numpy as np
import pytest

from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.evaluate.anytime import RULES, stopped
from hnexport.runtime import load
from hnexport.runtime.until import as_until


def test_the_curve_is_what_predict_mean_gives(digits, tested, archive):
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


def test_exact_changes_nothing_and_all_takes_all():
    random = np.random.default_rng(0)
    found = stopped(3 * random.standard_normal((5, 400, 4)), random.integers(0, 4, 400), 15)
    by_rule = {one.until: one for one in found}
    assert by_rule["exact"].changed == 0
    assert 3 <= by_rule["exact"].members < 5
    assert by_rule["all"].members == 5.0
    assert by_rule["0.5"].members < by_rule["0.8"].members < by_rule["0.99"].members
    assert by_rule["0.5"].changed > 0


def test_one_member_has_no_curve():
    assert stopped(np.zeros((1, 3, 2)), np.zeros(3, np.int64), 15) == ()
