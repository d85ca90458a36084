"""What a bundle says of its own parity agrees with itself and with what is found; members are drawn anew."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import rewrite_checksums, without_claims
from thorough import first

from hnexport.bundle.golden import read_golden, write_golden
from hnexport.bundle.manifest import ArtifactParity, read_manifest, write_manifest
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.chosen import golden_rows
from hnexport.parity.members import drawn_members, sample_members

Pristine = Callable[[str], Path]
OPTIONS = VerifyOptions(artifacts=("onnx",), trust=True)


def change_both(bundle: Path, figures: dict) -> None:
    """In parity.json and in the manifest, as someone who lies with care would."""
    value = json.loads((bundle / "parity.json").read_text())
    for artifact in value["artifacts"]:
        for item in artifact["comparisons"]:
            item.update(figures)
    (bundle / "parity.json").write_text(json.dumps(value))
    manifest = read_manifest(bundle)
    parity = {
        name: dataclasses.replace(known, **figures) if isinstance(known, ArtifactParity) else known
        for name, known in manifest.parity.items()
    }
    write_manifest(bundle, dataclasses.replace(manifest, parity=parity))


def edit_json(edit: Callable[[dict], object]) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        value = json.loads((bundle / "parity.json").read_text())
        edit(value)
        (bundle / "parity.json").write_text(json.dumps(value))

    return change


LIES = {
    "invented in both": lambda bundle: change_both(bundle, {"relative_l2": 1e-12, "multiple_of_eager": 0.1}),
    "an empty file": lambda bundle: (bundle / "parity.json").write_text(""),
    "an empty object": lambda bundle: (bundle / "parity.json").write_text("{}"),
    "no artifact": edit_json(lambda value: value.update(artifacts=[])),
    "an artifact less": edit_json(lambda value: value["artifacts"].pop()),
    "other figures": edit_json(lambda value: value["artifacts"][0]["comparisons"][0].update(relative_l2=9e-6)),
    "a member less": edit_json(lambda value: value["artifacts"][1]["comparisons"].pop(0)),
    "one that failed": edit_json(lambda value: value.update(passed=False)),
}


def test_a_bundle_that_says_what_is_found_is_the_same(pristine: Pristine) -> None:
    report = verify(pristine("hypernet"), OPTIONS)
    assert report.passed
    assert [claim.passed for claim in report.claims] == [True, True]


@pytest.mark.parametrize("name", first(3, LIES))
def test_a_bundle_that_says_something_else_is_different(name: str, copied: Pristine) -> None:
    bundle = copied("hypernet")
    LIES[name](bundle)
    rewrite_checksums(bundle)
    report = verify(bundle, OPTIONS)
    assert report.verdict == "different"
    assert not all(claim.passed for claim in report.claims)


def test_a_bundle_that_claims_nothing_is_judged_by_what_is_found(copied: Pristine) -> None:
    bundle = copied("hypernet")
    without_claims(bundle)
    assert verify(bundle, OPTIONS).passed


def test_members_that_the_golden_samples_lack_are_computed(copied: Pristine) -> None:
    bundle = copied("hypernet")
    write_golden(bundle, golden_rows(read_golden(bundle), [1]))
    rewrite_checksums(bundle)
    report = verify(bundle, OPTIONS)
    assert report.passed
    assert report.members_checked == (0, 1, 2)


def test_members_are_drawn_anew_with_the_first_and_the_last() -> None:
    first, second = (drawn_members(1000, seed, range(1000), 0) for seed in (1, 2))
    assert first != second
    assert all(len(one) == 32 and (one[0], one[-1]) == (0, 999) for one in (first, second))
    assert drawn_members(1000, 1, range(1000), 0) == first


def test_no_more_members_are_computed_than_fit() -> None:
    held = sample_members(1000)
    drawn = drawn_members(1000, 5, held, 3)
    assert len(set(drawn) - set(held)) == 3
    assert len(drawn) == 32
    assert set(drawn_members(1000, 5, held, 0)) == set(held)
