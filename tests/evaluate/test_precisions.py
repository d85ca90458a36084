"""Each precision is a source of its own: scores, answers changed against float32, a curve, and its cost."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits import splits
from shared import Built

from hnexport.bench.costs import read_costs
from hnexport.bench.results import BenchReport, ContenderResult, Timing
from hnexport.card import Measured
from hnexport.errors import RuntimeInputError
from hnexport.evaluate import EvaluateOptions, StatedLoss, evaluate
from hnexport.evaluate.anytime import stopped
from hnexport.evaluate.carded import measured
from hnexport.evaluate.curves import curves, stopped_plots
from hnexport.evaluate.drawing import padded
from hnexport.evaluate.page import evaluation_page
from hnexport.evaluate.results import Evaluation
from hnexport.evaluate.stopping import choose
from hnexport.quantise.options import Int8Options
from hnexport.records import to_json
from hnexport.runtime import load
from hnexport.tune.int8 import quantised


@pytest.fixture(scope="module")
def tuned(digits: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The digits, whose members can compute in int8 here."""
    trained = splits()[0]
    path = tmp_path_factory.mktemp("calibration") / "images.npz"
    np.savez(path, input=trained.images[:96], label=trained.labels[:96])
    quantised(digits.path, path, options=Int8Options(samples=64))
    return digits


def timing(ratio: float, batch_size: int) -> Timing:
    given: dict[str, Any] = {field.name: None for field in dataclasses.fields(Timing)}
    given |= {"batch_size": batch_size, "median_ms": 1.0, "p95_ms": 1.0, "rounds": 5}
    return Timing(**given | {"ratio": ratio, "ratio_quartiles": (ratio, ratio), "plain_runs": ratio})


def contender(name: str, ratios: tuple[float, float, float]) -> ContenderResult:
    given: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(ContenderResult)}
    given |= {"name": name, "runtime": ""}
    return ContenderResult(**given | {"timings": tuple(map(timing, ratios, (1, 8, 32)))})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark in which a member costs 1.0 in float32 and 0.25 in int8."""
    ratios = {"plain": (1, 1, 1), "materialised": (1.0, 1.0, 2.0), "int8": (0.5, 0.25, 0.2)}
    given: dict[str, Any] = {field.name: None for field in dataclasses.fields(BenchReport)}
    given |= {"bundle": "digits-3", "members": 3, "provider": "cpu", "precision": "float32", "threads": 1}
    given |= {"batch_sizes": (1, 8, 32), "not_run": {}, "environment": {}, "until": "exact"}
    made = BenchReport(**given | {"contenders": tuple(contender(name, own) for name, own in ratios.items())})
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    path.write_text(json.dumps(to_json(made)))
    return path


@pytest.fixture(scope="module")
def found(tuned: Built, report: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder, tested = tmp_path_factory.mktemp("data"), splits()[2]
    np.savez(folder / "test.npz", input=tested.images, label=tested.labels)
    np.savez(folder / "other.npz", input=np.random.default_rng(0).random((60, 1, 8, 8), np.float32))
    options = EvaluateOptions(
        precisions=("int8",),
        costs=read_costs(report),
        ood=folder / "other.npz",
        provider="cpu",
        until=StatedLoss(max_changed=0.03),
    )
    return evaluate(tuned.path, folder / "test.npz", options=options)


def test_a_precision_stands_beside_float32_with_what_it_changed(found: Evaluation, tuned: Built) -> None:
    plain, int8 = found.sources
    assert [(one.name, one.precision) for one in found.sources] == [("runtime", "float32"), ("runtime-int8", "int8")]
    assert "int8" in int8.runtime
    tested = splits()[2]
    known, given = (
        load(tuned.path, provider="cpu", precision=one, check="none").predict(tested.images, members="all")
        for one in ("float32", "int8")
    )
    assert plain.difference is None
    assert int8.difference.against == "runtime"
    assert int8.difference.answers == (known.argmax(-1) != given.argmax(-1)).sum()
    assert int8.difference.probabilities > 1e-4
    assert int8.classification.each[1].accuracy == pytest.approx((given[1].argmax(-1) == tested.labels).mean())


def test_the_rule_is_chosen_in_the_precision_that_is_named_against_float32(found: Evaluation, tuned: Built) -> None:
    tested = splits()[2]
    known, given = (
        load(tuned.path, provider="cpu", precision=one, check="none").predict(tested.images, members="all")
        for one in ("float32", "int8")
    )
    expected = choose(given, tested.labels, max_changed=0.03, against=known)
    assert found.until.precision == "int8"
    assert (found.until.order, found.until.confidence) == (expected.order, expected.confidence)
    assert found.until.all_scores.nll == pytest.approx(found.sources[0].classification.ensemble.nll, rel=1e-6)


def test_answers_that_stopping_changes_are_counted_from_float32_in_every_precision(
    found: Evaluation, tuned: Built
) -> None:
    tested = splits()[2]
    whole = load(tuned.path, provider="cpu", check="none").predict_mean(tested.images).probabilities.argmax(-1)
    int8 = load(tuned.path, provider="cpu", precision="int8", check="none")
    by_rule = {one.until: one for one in found.sources[1].classification.stopped}
    for name in ("0.5", "0.9"):
        said = int8.predict_mean(tested.images, until=float(name)).probabilities.argmax(-1)
        assert by_rule[name].changed == (said != whole).sum()
    assert by_rule["all"].changed == found.sources[1].difference.ensemble_answers
    logits = np.log([[[0.9, 0.1]], [[0.8, 0.2]]])
    (*_, every) = stopped(logits, np.array([0]), 15, against=logits[..., ::-1])
    assert (every.until, every.changed) == ("all", 1)
    assert "are others than those of all members, of runtime." in evaluation_page(found)


def test_a_member_costs_what_the_benchmark_timed(found: Evaluation) -> None:
    assert [one.member_cost for one in found.sources] == [1.0, 0.25]
    assert found.costs == "digits-3 on cpu, the median over the batch sizes 1, 8, 32"


def test_there_is_a_line_for_each_precision_and_the_axis_is_the_cost(found: Evaluation) -> None:
    plots = {one.title: one for one in stopped_plots(found)}
    assert set(plots) == {
        "Members one after the other",
        "Calibration of those that stop",
        "Likelihood of those that stop",
        "Other data, by entropy",
        "Other data, by mutual information",
    }
    for plot in plots.values():
        assert [line.name for line in plot.lines] == ["float32", "int8"]
        assert plot.x_label == "plain float32 runs a row, mean"
        assert len(plot.dots) == sum(len(one.classification.stopped) for one in curves(found))  # type: ignore[misc] # mypy cannot infer it
        first, second = (max(float(point.split(",")[0]) for point in line.points.split()) for line in plot.lines)
        assert second < first  # all members in int8 cost less
        assert all(52 <= dot.x <= 416.1 and 14 <= dot.y <= 256.1 for dot in plot.dots)
    untimed = dataclasses.replace(
        found, sources=(found.sources[0], dataclasses.replace(found.sources[1], member_cost=None))
    )
    assert {plot.x_label for plot in stopped_plots(untimed)} == {"members a row, mean"}


def test_page_and_card_tell_each_precision(found: Evaluation) -> None:
    page = evaluation_page(found)
    assert "<h3>float32</h3>" in page
    assert "<h3>int8</h3>" in page
    last = found.sources[1].classification.stopped[-1]
    assert f"<tr><td>all</td><td>3.000</td><td>0.750</td><td>{last.scores.accuracy:.2%}</td>" in page
    assert f"<td>{last.ood['mutual_information']:.4f}</td>" in page
    card: Measured = measured(found, fitted_here=False)
    rows = [row for table in card.tables for row in table.rows]
    assert ("int8", "all", "3.000", "0.750") in {row[:4] for row in rows}
    assert any(row[0] == "runtime-int8" for row in rows)


def test_what_cannot_be_evaluated_is_refused(digits: Built, archive: Path, tmp_path: Path, report: Path) -> None:
    def refused(message: str, **options: tuple[str] | str | tuple[()]) -> None:
        with pytest.raises(RuntimeInputError, match=message):
            evaluate(digits.path, archive, options=EvaluateOptions(**options))

    refused("precision must be one of", precisions=("int9",))
    refused("precision='tf32' needs provider='cuda'", precisions=("tf32",), engine="openvino")
    refused("name at least one precision", precisions=())
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(RuntimeInputError, match="is not what `hnexport bench BUNDLE --json` prints"):
        read_costs(tmp_path / "bench.json")
    other = json.loads(report.read_text()) | {"precision": "tf32"}
    (tmp_path / "tf32.json").write_text(json.dumps(other))
    with pytest.raises(RuntimeInputError, match="costs are in runs of one in float32"):
        read_costs(tmp_path / "tf32.json")


def test_int8_that_was_not_made_is_said_before_the_data_are_read(
    digits: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(RuntimeInputError, match="has no int8 graphs in this user's cache: run `hnexport tune"):
        evaluate(digits.path, tmp_path / "missing.npz", options=EvaluateOptions(precisions=("float32", "int8")))


def test_costs_of_another_place_are_no_costs(report: Path) -> None:
    costs = read_costs(report)
    assert costs.of("int8", "cpu") == 0.25
    assert costs.of("int8", "cuda") is None
    assert costs.of("openvino-int8", "cpu") is None
    assert costs.missing("int8", "cpu") == ""
    assert costs.missing("openvino-int8", "cpu") == (
        "openvino-int8 on cpu was not timed (`hnexport bench BUNDLE --json --provider cpu "
        "--against plain,openvino-int8` does)"
    )
    assert "--provider cuda --against plain,materialised`" in costs.missing("materialised", "cuda")
    assert (
        costs.missing("", "cuda") == "`hnexport bench` does not compare members of this precision on cuda with float32"
    )


def test_what_was_not_timed_is_said_beside_the_costs(tuned: Built, report: Path, archive: Path) -> None:
    found = evaluate(tuned.path, archive, options=EvaluateOptions(costs=read_costs(report), engine="openvino"))
    assert found.sources[0].member_cost is None
    assert found.costs.startswith(
        "digits-3 on cpu, the median over the batch sizes 1, 8, 32; openvino-materialised on "
    )
    assert "--against plain,openvino-materialised` does)" in evaluation_page(found)


def test_an_axis_of_shares_ends_where_shares_do() -> None:
    assert padded([1.0, 1.0], shares=True) == (0.99, 1.0)
    assert padded([0.0, 0.5], shares=True) == (0.0, pytest.approx(0.56))  # type: ignore[comparison-overlap] # approx is compared with numbers
    assert padded([1.0, 1.0]) == (0.99, 1.01)
