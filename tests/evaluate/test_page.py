"""The page says what the evaluation says, needs nothing else, and draws what there is."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from digits import Split
from shared import Built

from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.evaluate.drawing import Area, ticks
from hnexport.evaluate.page import evaluation_page
from hnexport.evaluate.results import Evaluation


class Balanced(HTMLParser):
    """Fails on a tag that is not closed where it should be."""

    VOID = ("meta", "line", "rect", "polyline", "br", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture
def found(digits: Built, archive: Path, tmp_path: Path) -> Evaluation:
    other = np.random.default_rng(0).random((60, 1, 8, 8), np.float32)
    np.savez(tmp_path / "other.npz", input=other)
    return evaluate(digits.path, archive, options=EvaluateOptions(ood=tmp_path / "other.npz", provider="cpu"))


def check(page: str) -> None:
    assert not re.search(r"(src|href)=|url\(|@import|<script|\bnan\b|\binf\b", page)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


def test_the_page_loads_nothing_and_has_the_numbers(found: Evaluation) -> None:
    page, part = evaluation_page(found), found.sources[0].classification
    check(page)
    assert "prefers-color-scheme: dark" in page
    for number in (part.ensemble.accuracy, part.mean.accuracy, part.ensemble.ece, part.diversity.disagreement):
        assert f"{number:.2%}" in page
    for title in ("Reliability", "Risk against coverage", "Other data", "Members and ensemble", "Mutual information"):
        assert f"<h2>{title}</h2>" in page
    assert f"AUROC {part.ood['entropy'].auroc:.3f}" in page
    assert found.digest in page
    assert page.count("<tr><td>member ") == 3
    assert f"<td>{part.gain.accuracy:+.2%}</td>" in page  # in the unit of the rows above
    assert "<h2>Members one after the other</h2>" in page
    for one in part.stopped:
        assert f"<tr><td>{one.until}</td><td>{one.members:.3f}</td><td>{one.scores.accuracy:.2%}</td>" in page


def test_without_other_data_the_page_shows_how_mistakes_are_found(
    found: Evaluation, digits: Built, archive: Path
) -> None:
    page = evaluation_page(evaluate(digits.path, archive, options=EvaluateOptions(provider="cpu")))
    check(page)
    assert "<h2>Mistakes</h2>" in page
    assert "Other data" not in page


def test_one_member_alone_has_no_ensemble(digits: Built, archive: Path) -> None:
    page = evaluation_page(evaluate(digits.path, archive, options=EvaluateOptions(members=[1], provider="cpu")))
    check(page)
    assert "Members and ensemble" not in page
    assert "mutual information" not in page.lower()
    assert "<td>ensemble</td>" not in page
    assert "one after the other" not in page


def test_one_that_is_always_right_has_no_mistakes_to_find(digits: Built, tested: Split, tmp_path: Path) -> None:
    from hnexport.runtime import load

    answers = load(digits.path, provider="cpu").predict_mean(tested.images).probabilities.argmax(axis=-1)
    right = answers == tested.labels
    np.savez(tmp_path / "right.npz", input=tested.images[right], label=tested.labels[right])
    page = evaluation_page(evaluate(digits.path, tmp_path / "right.npz", options=EvaluateOptions(provider="cpu")))
    check(page)
    assert "none to find" in page
    assert "<h2>Mistakes</h2>" not in page


def test_names_of_files_hide_nothing_on_the_page(found: Evaluation) -> None:
    page = evaluation_page(dataclasses.replace(found, data="<b>x</b>\u202e.npz"))
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "\u202e" not in page


def test_labels_of_an_axis_leave_room_for_its_name(found: Evaluation) -> None:
    plots = re.findall(r"<svg.*?</svg>", evaluation_page(found), re.DOTALL)
    assert plots
    for plot in plots:
        ends = re.findall(r'<text x="([-\d.]+)" y="[-\d.]+" text-anchor="end">([^<]+)<', plot)
        name, left = (
            float(place[1])
            for pattern in (r"translate\(([-\d.]+) [-\d.]+\) rotate", r'viewBox="([-\d.]+)')
            if (place := re.search(pattern, plot))
        )
        assert left + 12 <= name <= min(float(x) - 7 * len("00.00%") for x, _ in ends) - 2


@pytest.mark.parametrize(("low", "high", "labels"), [(0.0, 1.0, ["0%", "20%"]), (0.945, 0.982, ["95%", "96%"])])
def test_axes_have_round_numbers(low: float, high: float, labels: list[str]) -> None:
    found = ticks(Area(low=(low, 0.0), high=(high, 1.0)), "x")
    assert [tick.label for tick in found][: len(labels)] == labels
    assert 3 <= len(found) <= 7
    assert all(52 <= tick.at <= 416.1 for tick in found)
