"""A bundle's own rule: the order and the threshold that its manifest says, and no other."""

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
import pytest
from digits import TrainedDigits, splits
from shared import built_kind

from hnexport.bundle.fitted import Anytime
from hnexport.errors import RuntimeInputError
from hnexport.runtime import LoadedEnsemble, Until, load
from hnexport.spec.precision import Precision

RULE = Anytime(
    order=(2, 0, 1),
    confidence=0.9,
    least=2,
    precision=Precision.FLOAT32,
    members=2.1,
    rows=400,
    level=0.95,
    source="sha256:" + "0" * 64,
    max_changed=0.02,
)


@pytest.fixture(scope="module")
def plain() -> LoadedEnsemble:
    return load(built_kind("digits", TrainedDigits()).path, provider="cpu", check="none")


@pytest.fixture
def ensemble(plain: LoadedEnsemble) -> Iterator[LoadedEnsemble]:
    """The digits, as if the manifest had the rule."""
    known, plain.manifest = plain.manifest, dataclasses.replace(plain.manifest, anytime=RULE)
    plain._told = False
    yield plain
    plain.manifest = known


def test_the_rule_and_the_order_of_the_bundle_are_used(ensemble: LoadedEnsemble) -> None:
    images = splits()[2].images
    found = ensemble.predict_mean(images, until="bundle")
    known = ensemble.predict_mean(images, members=(2, 0, 1), until=Until(confidence=0.9, least=2))
    assert found.members == (2, 0, 1)
    assert set(found.members_used) == {2, 3}
    np.testing.assert_array_equal(found.members_used, known.members_used)
    np.testing.assert_array_equal(found.probabilities, known.probabilities)


def test_a_bundle_without_a_rule_says_how_to_get_one(plain: LoadedEnsemble) -> None:
    with pytest.raises(
        RuntimeInputError, match=r"the rule 'bundle' is for .* `hnexport evaluate BUNDLE HELD_OUT --out"
    ):
        plain.predict_mean(splits()[2].images[:2], until="bundle")


@pytest.mark.parametrize("members", [[2, 0, 1], [1]])
def test_the_rule_goes_with_no_other_members(ensemble: LoadedEnsemble, members: list[int]) -> None:
    with pytest.raises(RuntimeInputError, match="in the bundle's own order, 2, 0, 1: name none"):
        ensemble.predict_mean(splits()[2].images[:2], members=members, until="bundle")


def test_a_rule_that_was_chosen_in_another_precision_is_used_and_said_once(
    ensemble: LoadedEnsemble, caplog: pytest.LogCaptureFixture
) -> None:
    ensemble.manifest = dataclasses.replace(
        ensemble.manifest, anytime=dataclasses.replace(RULE, precision=Precision.INT8)
    )
    with caplog.at_level(logging.WARNING, "hnexport.runtime"):
        for _ in range(2):
            assert set(ensemble.predict_mean(splits()[2].images, until="bundle").members_used) == {2, 3}
    assert [record.getMessage() for record in caplog.records] == [
        "the bundle's rule was chosen on answers in int8, these are in float32: what it costs was not measured for "
        "them; ask in int8, or choose one on answers in float32"
    ]


def test_in_its_own_precision_nothing_is_said(ensemble: LoadedEnsemble, caplog: pytest.LogCaptureFixture) -> None:
    ensemble.predict_mean(splits()[2].images[:2], until="bundle")
    assert caplog.records == []
