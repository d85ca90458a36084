"""The tolerance at load separates rounding from mistakes."""

from pathlib import Path

import numpy as np
import pytest

from hnexport.bundle import Golden
from hnexport.errors import BundleError
from hnexport.runtime.golden_check import LOAD_TOLERANCES, check_golden
from hnexport.runtime.options import Check, Precision

LOGITS = np.random.default_rng(0).standard_normal((2, 3, 5))
GOLDEN = Golden(
    images=np.zeros((3, 1), np.float32),
    kinds=("black", "white", "noise"),
    members=np.array([4, 7]),
    logits=LOGITS,
    eager=LOGITS.astype(np.float32),
)


def check(predict, how=Check.ALL, precision=Precision.FLOAT32):
    check_golden(GOLDEN, predict, how, precision, Path("bundle"))


def predict(member, images):
    return LOGITS[[4, 7].index(member), : len(images)].astype(np.float32)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize(("factor", "passes"), [(0.9, True), (1.1, False)])
def test_the_limit_is_the_one_in_the_table(precision, factor, passes):
    scale = 1 + factor * LOAD_TOLERANCES[precision].relative_l2

    def scaled(member, images):
        return predict(member, images).astype(np.float64) * scale

    if passes:
        check(scaled, precision=precision)
    else:
        with pytest.raises(BundleError, match="member 4 does not compute"):
            check(scaled, precision=precision)


def test_a_logit_that_is_not_a_number_fails_and_its_image_is_named():
    def broken(member, images):
        logits = predict(member, images)
        logits[-1, 0] = np.nan
        return logits

    with pytest.raises(BundleError, match=r"image 2 \(noise\) is off by nan"):
        check(broken)


def test_swapped_members_fail():
    with pytest.raises(BundleError, match="member 4 does not compute"):
        check(lambda member, images: predict(11 - member, images))


@pytest.mark.parametrize(
    ("how", "calls"), [(Check.NONE, []), (Check.SAMPLE, [(4, 1)]), (Check.ALL, [(4, 3), (7, 3)])], ids=str
)
def test_a_check_computes_as_much_as_it_says(how, calls):
    made = []
    check(lambda member, images: made.append((member, len(images))) or predict(member, images), how)
    assert made == calls
