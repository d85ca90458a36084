"""The tolerance at load separates rounding from mistakes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hnexport.bundle import Golden
from hnexport.errors import BundleError
from hnexport.runtime.golden_check import LOAD_TOLERANCES, check_golden
from hnexport.runtime.options import Check, Precision
from hnexport.spec import OutputKind, OutputSpec, Signature, TensorSpec

LOGITS = np.random.default_rng(0).standard_normal((2, 3, 5))
SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", dtype="float32", shape=("batch", 1)),),
    outputs=(OutputSpec(name="logits", dtype="float32", shape=("batch", 5), kind=OutputKind.LOGITS, axis=1),),
)
GOLDEN = Golden(
    inputs={"image": np.zeros((3, 1), np.float32)},
    kinds=("black", "white", "noise"),
    members=np.array([4, 7]),
    outputs={"logits": LOGITS},
    eager={"logits": np.full((2, 3), 1e-7)},
    noise={"logits": np.zeros((2, 3))},
)


def check(
    predict: Callable[[Any, Any], NDArray[np.float64]] | Callable[[Any, Any], NDArray[Any]],
    how: Any = Check.ALL,
    precision: Precision = Precision.FLOAT32,
    golden: Golden = GOLDEN,
) -> None:
    def run(member: int, inputs: Any) -> dict[Any, Any]:
        return {"logits": predict(member, inputs["image"])}

    check_golden(golden, SIGNATURE, run, how, precision, Path("bundle"))


def predict(member: Any, images: Any) -> NDArray[Any]:
    return LOGITS[[4, 7].index(member), : len(images)].astype(np.float32)


@pytest.mark.parametrize("precision", list(LOAD_TOLERANCES))  # int8 has samples of its own
@pytest.mark.parametrize(("factor", "passes"), [(0.9, True), (1.1, False)])
def test_the_limit_is_the_one_in_the_table(precision: Precision, factor: float, passes: bool) -> None:
    scale = 1 + factor * LOAD_TOLERANCES[precision].relative_l2

    def scaled(member: int, images: NDArray[Any]) -> NDArray[np.float64]:
        return predict(member, images).astype(np.float64) * scale

    if passes:
        check(scaled, precision=precision)
    else:
        with pytest.raises(BundleError, match="member 4 does not compute"):
            check(scaled, precision=precision)


def test_a_logit_that_is_not_a_number_fails_and_its_image_is_named() -> None:
    def broken(member: int, images: NDArray[Any]) -> NDArray[Any]:
        logits = predict(member, images)
        logits[-1, 0] = np.nan
        return logits

    with pytest.raises(BundleError, match=r"image 2 \(noise\) is off by inf"):
        check(broken)


def test_swapped_members_fail() -> None:
    with pytest.raises(BundleError, match="member 4 does not compute"):
        check(lambda member, images: predict(11 - member, images))


@pytest.mark.parametrize(
    ("how", "calls"), [(Check.NONE, []), (Check.SAMPLE, [(4, 1)]), (Check.ALL, [(4, 3), (7, 3)])], ids=str
)
def test_a_check_computes_as_much_as_it_says(how: Check, calls: list[tuple[int, int]]) -> None:
    made = []

    def counted(member: int, images: Any) -> Any:
        made.append((member, len(images)))
        return predict(member, images)

    check(counted, how)
    assert made == calls


def test_a_row_may_be_off_by_four_times_what_float32_loses_on_it_by_chance() -> None:
    noise = np.zeros((2, 3))
    noise[1, 2] = 1e-3
    golden = dataclasses.replace(GOLDEN, noise={"logits": noise})

    def off(by: float) -> Callable[[Any, Any], NDArray[np.float64]]:
        def run(member: int, images: NDArray[Any]) -> NDArray[np.float64]:
            logits = predict(member, images).astype(np.float64)
            if member == 7:
                logits[2] *= 1 + by
            return logits

        return run

    check(off(3.9e-3), golden=golden)
    with pytest.raises(BundleError, match=r"image 2 \(noise\) is off by 4.1e-03 \(relative L2\), allowed 4.0e-03"):
        check(off(4.1e-3), golden=golden)
    with pytest.raises(BundleError, match=r"off by 3.9e-03 \(relative L2\), allowed 4.0e-05"):
        check(off(3.9e-3))
    eager = np.full((2, 3), 2e-3)  # more than chance says, of a row on which chance costs much: `verify` takes it too
    check(off(7.9e-3), golden=dataclasses.replace(golden, eager={"logits": eager}))
    with pytest.raises(BundleError, match=r"off by 3.9e-03 \(relative L2\), allowed 4.0e-05"):
        check(off(3.9e-3), golden=dataclasses.replace(GOLDEN, eager={"logits": eager}))


def test_golden_samples_of_no_member_are_refused() -> None:
    nobody = dataclasses.replace(GOLDEN, members=np.zeros(0, np.int64))
    for how in (Check.SAMPLE, Check.ALL):
        with pytest.raises(BundleError, match="golden samples are of no member"):
            check(predict, how, golden=nobody)


def test_logits_of_another_shape_fail() -> None:
    with pytest.raises(BundleError, match=r"logits should have shape \[3, 5\], found shape \[3, 4\]"):
        check(lambda member, images: predict(member, images)[:, :4])
