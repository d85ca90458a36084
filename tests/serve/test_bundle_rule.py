"""A request may ask for the bundle's own rule: its order and its threshold."""

import dataclasses
from typing import Any

import pytest
from digits import TrainedDigits
from shared import built_kind

from hnexport.bundle.fitted import Anytime
from hnexport.bundle.manifest import Manifest
from hnexport.runtime import Until
from hnexport.serve.asked import Asked, asked
from hnexport.serve.refusal import RefusedError
from hnexport.spec.precision import Precision


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    rule = Anytime(
        order=(2, 0, 1), confidence=0.9, least=2, precision=Precision.FLOAT32, members=2.1, rows=400, level=0.95,
        source="sha256:" + "0" * 64, max_changed=0.02,
    )  # fmt: skip
    return dataclasses.replace(built_kind("digits", TrainedDigits()).manifest, anytime=rule)


def wish(manifest: Manifest, **parameters: Any) -> Asked:
    return asked(parameters, members=3, signature=manifest.signature, precisions=["float32"], manifest=manifest)


def test_the_rule_and_the_order_are_those_of_the_bundle(manifest: Manifest) -> None:
    for parameters in ({}, {"members": "all"}):
        found = wish(manifest, until="bundle", **parameters)
        assert (found.members, found.until) == ((2, 0, 1), Until(confidence=0.9, least=2))
        assert found.label == "until"
    assert wish(manifest, until=0.9, least=2).members == (0, 1, 2)


@pytest.mark.parametrize("parameters", [{"members": "0,1"}, {"member": 1}])
def test_nothing_else_goes_with_it(manifest: Manifest, parameters: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="asks all members in the bundle's own order"):
        wish(manifest, until="bundle", **parameters)
    with pytest.raises(RefusedError, match="least is the bundle's own"):
        wish(manifest, until="bundle", least=2)


def test_a_bundle_without_a_rule_refuses(manifest: Manifest) -> None:
    with pytest.raises(RefusedError, match="^the rule 'bundle' is for a bundle that says when its members are enough"):
        wish(dataclasses.replace(manifest, anytime=None), until="bundle")
