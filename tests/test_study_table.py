"""The study of docs/explanation/study.md: its parts, its intervals, and the whole of it on very few images."""

import importlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import bootstrap, norm

from hnexport.evaluate.scores import calibration_error, reliability, scored

ROOT = Path(__file__).parents[1]
OURS = ("study", "study_table", "digits_table")


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]


def module(name: str) -> types.ModuleType:
    return importlib.import_module(name)


Answered = tuple[list[NDArray[np.float64]], NDArray[np.int64]]


@pytest.fixture(scope="module")
def answered() -> Answered:
    """Two answers to the same 300 images, log-probabilities `[row, class]`, and the labels."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, 300)
    logits = random.normal(size=(300, 4)) + 2.5 * np.eye(4)[labels]
    both = [logits + random.normal(scale=scale, size=logits.shape) for scale in (0.1, 0.9)]
    return [one - np.logaddexp.reduce(one, axis=-1, keepdims=True) for one in both], labels


def test_an_accuracy_difference_lies_between_what_scipys_paired_bootstrap_says(
    answered: Answered,
) -> None:
    ours, (both, labels) = module("study.bootstrap"), answered
    right = [(one.argmax(-1) == labels).astype(float) for one in both]
    found = ours.Bootstrap(rows=300).interval((right[0] - right[1])[:, np.newaxis], ours.mean)
    theirs = bootstrap(
        right,
        lambda one, other, axis=-1: one.mean(axis) - other.mean(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert found.found == pytest.approx(right[0].mean() - right[1].mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_the_interval_of_a_share_is_the_normal_one_of_its_binomial(
    answered: Answered,
) -> None:
    ours = module("study.bootstrap")
    column = (np.arange(1000) < 300).astype(float)[:, np.newaxis]
    found = ours.Bootstrap(rows=1000).interval(column, ours.mean)
    half = norm.ppf(0.975) * np.sqrt(0.3 * 0.7 / 1000)
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.002)


def test_a_calibration_error_difference_is_that_of_the_images_that_were_drawn(
    answered: Answered,
) -> None:
    ours, (both, labels) = module("study.bootstrap"), answered
    rows = [scored(one, labels) for one in both]
    columns = np.concatenate([ours.calibration(one) for one in rows], axis=1)
    found = ours.Bootstrap(rows=300, draws=4000).interval(columns, ours.calibration_difference)

    def errors(chosen: NDArray[np.int64]) -> list[Any]:
        parts = [scored(one[chosen], labels[chosen]) for one in both]
        return [calibration_error(reliability(part, ours.BINS)) for part in parts]

    exact = errors(np.arange(300))
    assert found.found == pytest.approx(exact[0] - exact[1])
    random = np.random.default_rng(3)
    drawn = [np.subtract(*errors(random.integers(0, 300, 300))) for _ in range(1000)]
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.006)


def test_the_same_seed_draws_the_same_and_another_one_other_images(
    answered: Answered,
) -> None:
    ours, column = module("study.bootstrap"), np.random.default_rng(0).normal(size=(50, 1))
    one, again, other = (
        ours.Bootstrap(rows=50, draws=200, seed=seed).interval(column, ours.mean) for seed in (0, 0, 1)
    )
    assert one == again
    assert one != other


def test_no_image_trains_or_chooses_where_it_is_reported_and_each_is_reported_once() -> None:
    tasks = module("study.tasks")
    labels = tasks.digits(0).labels
    found = list(tasks.folds(labels, 5, 2, 0))
    assert sorted(np.concatenate([fold.report for fold in found])) == list(range(len(labels)))
    for fold in found:
        together = np.concatenate([fold.train, fold.choose, fold.report])
        assert sorted(together) == list(range(len(labels)))
        assert np.bincount(labels[fold.report]).min() > 30  # of every class
    with pytest.raises(ValueError, match="4 cannot choose"):
        next(tasks.folds(labels, 5, 4, 0))


def test_a_task_is_drawn_by_its_seed() -> None:
    tasks = module("study.tasks")
    one, again, other = (tasks.noisy_digits(seed).images for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_price_of_an_int8_member_is_what_the_page_says(tmp_path: Path) -> None:
    prices = module("study.prices")
    found = prices.measured_of_page(ROOT / "docs/explanation/int8.md")
    assert list(found) == ["1", "8", "32"]
    assert all(0.2 < ratio < 0.5 for ratio in found.values())
    (tmp_path / "page.md").write_text("| | batch 1 |\n| onnxruntime, plain float32 | 40 ms |\n")
    with pytest.raises(ValueError, match="has no table with a row 'onnxruntime, int8'"):
        prices.measured_of_page(tmp_path / "page.md")


def found_of(accuracy_low: float, price_of: float = 1.2) -> Any:
    """Digits of which int8 changes nothing, and fewer members lose up to `accuracy_low`."""
    worth, stops, tables = (module(f"study.{name}") for name in ("worth", "stops", "tables"))

    def between(low: float, found: float, high: float) -> Any:
        return module("study.bootstrap").Interval(found=found, low=low, high=high)

    nothing, common = between(0.0, 0.0, 0.0), {"accuracy": 0.99, "ece": 0.01, "changed": 0}
    same = worth.Difference(changed=nothing, accuracy=nothing, ece=nothing)
    small = worth.Compared(
        kind="int8",
        member_accuracy=0.98,
        members_changed=0,
        of_answers=10,
        member_change=nothing,
        difference=same,
        **common,
    )
    fewer = stops.Stopped(
        rule=stops.Rule(drop=0.005),
        chosen=(stops.Chosen(order=(1, 0), rows=9),),
        members=between(1.1, price_of, 1.3),
        apart=0,
        difference=worth.Difference(changed=nothing, accuracy=between(accuracy_low, -0.001, 0.0), ece=nothing),
        **common,
    )
    return tables.Found(task="digits", images=10, compared=(small,), stopped=(fewer,), own=())


def test_a_loss_at_the_far_end_of_its_interval_or_a_price_above_what_was_asked_is_told() -> None:
    tables, prices = module("study.tables"), {"1": 0.36, "32": 0.5}

    def missed(found: Any) -> list[Any]:
        return [one.what for one in tables.asked(found, prices) if not one.kept]

    assert missed(found_of(-0.004)) == []
    assert missed(found_of(-0.006)) == ["accuracy lost, no more members than needed"]
    assert missed(found_of(-0.004, price_of=1.5)) == ["price in plain runs, no more members than needed"]  # 1.5 x 0.5
    (row,) = tables.stopping(found_of(-0.006), prices).rows
    assert row[:2] == ("int8, 0.5 points stated", "1 found none")
    assert "-0.10 (-0.60 to +0.00)" in row
    assert row[-1] == "0.43, 0.60"


def test_the_digits_of_the_page_keep_what_was_asked() -> None:
    tool = module("study_table")
    text = (ROOT / "docs/explanation/study.md").read_text()
    assert text.count(tool.BEGIN) == text.count(tool.END) == 1
    first = text.split(tool.BEGIN)[1].split("\n\n")[2]
    rows = [line.strip("| ").split(" | ") for line in first.splitlines()[2:]]
    assert len(rows) == 7
    assert {row[-1] for row in rows} == {"yes"}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the whole study on very few images, and what it wrote."""
    return tmp_path_factory.mktemp("study")


def run(folder: Path, *more: str) -> tuple[int, dict]:
    few = ["--images", "240", "--folds", "3", "--choosing", "1", "--members", "2", "--epochs", "6", "--draws", "200"]
    stated = ["--loss", "0.3", "--rise", "0.5", "--price", "1=0.5", "--price", "8=0.4"]
    asked = ["--task", "noisy-digits", "--no-bases", *few, *stated, "--build", str(folder), *more]
    with torch.random.fork_rng():
        code = module("study_table").main([*asked, "--out", str(folder / "found.json")])
    return code, json.loads((folder / "found.json").read_text())


@pytest.mark.thorough
def test_the_whole_study_is_made_once_and_says_the_same_of_what_it_made(
    once: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(once))  # it sets another one
    page, tool = once / "page.md", module("study_table")
    page.write_text(f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n")
    code, found = run(once, "--page", str(page))
    said = capsys.readouterr()
    assert code == 0  # of digits alone something is asked
    assert "training" in said.err
    (task,) = found["tasks"]
    assert task["images"] == 240
    by_kind = {one["kind"]: one for one in task["compared"]}
    assert list(by_kind) == ["float32", "int8", "int8, OpenVINO"]
    assert by_kind["float32"]["changed"] == by_kind["float32"]["members_changed"] == 0
    assert by_kind["int8"]["difference"]["changed"]["found"] == by_kind["int8"]["changed"] / 240
    first, exact, votes, everything, plain, alone = task["stopped"]
    assert 1 < first["members"]["found"] < 2
    assert 1 < votes["members"]["found"] < 2
    assert exact["members"]["found"] == everything["members"]["found"] == 2
    assert everything["accuracy"] == by_kind["int8"]["accuracy"]
    assert plain["rule"]["kind"] == "float32"
    assert alone["members"]["found"] == 1
    assert all(one["until"]["confidence"] < 1 and sorted(one["order"]) == [0, 1] for one in first["chosen"])
    assert {one["rows"] for one in first["chosen"]} == {80}
    assert all(set(one["ratios"]) == {"1", "8", "32"} for one in task["own"])
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert f"{first['members']['found'] * 0.5:.2f}, {first['members']['found'] * 0.4:.2f}" in written

    code, again = run(once)
    assert "training" not in capsys.readouterr().err
    for tasks in (found["tasks"], again["tasks"]):
        del tasks[0]["own"]  # times
    assert again["tasks"] == found["tasks"]
