"""`report.html` is one page that needs nothing else and says what parity.json says."""

import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bundles import small_spec, trained_tensors

from hnexport.bundle import read_golden, read_manifest
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.depth import DepthProfile, depth_profile
from hnexport.parity.page import report_page

Pristine = Callable[[str], Path]


def small_profile(bundle: Path) -> DepthProfile:
    spec = small_spec("hypernet")
    ensemble = wide_resnet_ensemble(spec, trained_tensors(spec), "test weights")
    return depth_profile(ensemble, read_golden(bundle), bundle / "model.onnx")


class Balanced(HTMLParser):
    """Fails on a tag that is not closed where it should be."""

    VOID = ("meta", "line", "rect", "polyline", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ["hypernet", "batch-ensemble", "pixels"])
def test_a_build_writes_a_page_that_loads_nothing(kind: str, pristine: Pristine) -> None:
    bundle = pristine(kind)
    page = (bundle / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=|url\(|@import|<script|nan|inf\b", page)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "prefers-color-scheme: dark" in page


def test_the_page_shows_every_member_artifact_and_checksum(pristine: Pristine) -> None:
    bundle = pristine("hypernet")
    page = (bundle / "report.html").read_text(encoding="utf-8")
    parity = json.loads((bundle / "parity.json").read_text())
    for artifact in parity["artifacts"]:
        for item in artifact["comparisons"]:
            assert f"{item['relative_l2']:.1e}" in page
    manifest = read_manifest(bundle)
    assert all(record.sha256 in page for name, record in manifest.files.items() if name != "report.html")
    assert "report.html" in manifest.files


def test_a_failed_report_is_shown_as_failed(pristine: Pristine) -> None:
    bundle = pristine("hypernet")
    manifest, golden = read_manifest(bundle), read_golden(bundle)
    report = verify(bundle, VerifyOptions(artifacts=("onnx",)))
    wrong = dataclasses.replace(
        report.artifacts[0].comparisons[1], relative_l2=float("inf"), worst_absolute=float("inf"), passed=False
    )
    comparisons = (report.artifacts[0].comparisons[0], wrong, report.artifacts[0].comparisons[2])
    artifact = dataclasses.replace(report.artifacts[0], comparisons=comparisons)
    failed = dataclasses.replace(report, artifacts=(artifact,))
    page = report_page(failed, manifest, golden, small_profile(bundle), manifest.files)
    assert "At least one artifact computes something else." in page
    assert page.count('class="cell failed"') == 1


def test_the_error_is_followed_from_the_first_layer_to_the_logits(pristine: Pristine) -> None:
    bundle = pristine("hypernet")
    profile = small_profile(bundle)
    assert isinstance(profile, DepthProfile)
    assert (profile.places[0], profile.places[-1]) == ("input", "output")
    assert "group2.block1.shortcut" in profile.places
    assert set(profile.errors) == {"float32 eager", "onnx"}
    assert all(error is not None and error < 1e-5 for series in profile.errors.values() for error in series)


def test_names_cannot_hide_anything_in_the_page(pristine: Pristine) -> None:
    bundle = pristine("hypernet")
    manifest, golden = read_manifest(bundle), read_golden(bundle)
    report = verify(bundle, VerifyOptions(artifacts=("onnx",), members=(0,)))
    named = dataclasses.replace(manifest, name="a\u202eb\x1b<script>", origin="c\u2066\u200b&d")
    page = report_page(report, named, golden, small_profile(bundle), manifest.files)
    assert not {"\u202e", "\x1b", "\u2066", "\u200b"} & set(page)
    assert r"a\u202eb\x1b&lt;script&gt;" in page
    assert r"c\u2066\u200b&amp;d" in page
    assert "1 of 3 members (as named)" in page
