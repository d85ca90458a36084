"""`hnexport evaluate --out` chooses when members are enough for a stated loss; `predict --until bundle` uses it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from digits import TrainedDigits, splits
from shared import Built, built_kind
from thorough import first

from hnexport.bundle.manifest import read_identified, read_manifest
from hnexport.cli.main import cli
from hnexport.cli.render_evaluate import print_evaluation
from hnexport.evaluate import Evaluation
from hnexport.evaluate.carded import measured, measured_for
from hnexport.evaluate.page import evaluation_page
from hnexport.evaluate.stopping import choose
from hnexport.records import from_json, to_json
from hnexport.runtime import Until, load


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments])


def said(done: Result) -> str:
    return " ".join((done.stdout + done.stderr).replace("│", " ").split())


@pytest.fixture(scope="module")
def digits() -> Built:
    return built_kind("digits", TrainedDigits())


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, (_, held, _) = tmp_path_factory.mktemp("held"), splits()
    np.savez(folder / "held.npz", input=held.images, label=held.labels)
    return folder / "held.npz"


@pytest.fixture(scope="module")
def ruled(digits: Built, held: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """The digits with a rule and without a temperature, and what was printed."""
    target = tmp_path_factory.mktemp("ruled") / "new"
    asked = ("--out", target, "--fit", "until", "--max-changed", "0.03", "--max-accuracy-drop", "0.05", "--json")
    done = run("evaluate", digits.path, held, *asked, "--provider", "cpu")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    derived = printed.pop("derived")
    assert derived == read_identified(target).digest
    return target, from_json(Evaluation, printed)


def test_the_rule_stands_in_the_new_bundle_and_nothing_else_is_another(
    digits: Built, ruled: tuple[Path, Evaluation]
) -> None:
    target, found = ruled
    manifest, known = read_manifest(target), digits.manifest
    rule, chosen = manifest.anytime, found.until
    assert (rule.order, rule.confidence, rule.least) == (chosen.order, chosen.confidence, 1)
    assert (rule.members, rule.rows, rule.source) == (chosen.members, 400, digits.digest)
    assert (rule.max_changed, rule.max_accuracy_drop, rule.max_ece_rise) == (0.03, 0.05, None)
    assert manifest.temperature is None
    for name in ("model.onnx", "network.onnx", "ensemble.onnx", "weights.bin", "model.pt2"):
        assert manifest.files[name] == known.files[name]
    assert "anytime" not in (digits.path / "manifest.json").read_text()


def test_inspect_and_card_say_the_rule(ruled: tuple[Path, Evaluation]) -> None:
    target, found = ruled
    rule = found.until
    shown = said(run("inspect", target))
    assert f"stopping: members in the order {', '.join(map(str, rule.order))}, until the mean probability" in shown
    assert "for an accuracy at most 0.05 lower and at most 0.03 of the answers others than with all" in shown
    card = (target / "README.md").read_text(encoding="utf-8")
    assert f"until the mean probability of a class is {rule.confidence:g}" in card
    assert 'predict_mean(inputs, until="bundle")' in card
    assert f"stopped at {rule.confidence:g}, {rule.members:.3f} members a row, float32" in card
    assert "model-index" not in card  # what was chosen on these data is no score
    assert measured_for(read_identified(target), found, target).remarks


def test_that_a_rule_stops_nobody_is_printed_recorded_and_on_the_card(
    ruled: tuple[Path, Evaluation], capsys: pytest.CaptureFixture[str]
) -> None:
    _, known = ruled
    remark = "the rule stops none of 400 rows before all 5 members are asked"
    assert known.until is not None
    assert known.until.remark == ""
    found = dataclasses.replace(known, until=dataclasses.replace(known.until, remark=remark))
    print_evaluation(found)
    assert remark in " ".join(capsys.readouterr().out.split())
    before = to_json(found)
    assert from_json(Evaluation, before).until.remark == remark
    del before["until"]["remark"]  # as an hnexport without this remark wrote it
    assert from_json(Evaluation, before).until.remark == ""
    assert f"T{remark[1:]}." in measured(found).remarks
    assert f"T{remark[1:]}." in evaluation_page(found)


def test_predict_takes_the_members_that_the_rule_asks_for(ruled: tuple[Path, Evaluation], tmp_path: Path) -> None:
    target, found = ruled
    images = splits()[2].images[:40]
    np.save(tmp_path / "images.npy", images)
    done = run("predict", target, tmp_path / "images.npy", "--until", "bundle", "--json", "--provider", "cpu")
    assert done.exit_code == 0, done.output
    rule = found.until
    known = load(target, provider="cpu").predict_mean(
        images, members=rule.order, until=Until(confidence=rule.confidence, least=rule.least)
    )
    shown = json.loads(done.stdout)
    assert [one["members_used"] for one in shown] == known.members_used.tolist()
    assert [tuple(map(int, one["members"])) for one in shown] == [
        rule.order[:count] for count in known.members_used.tolist()
    ]
    some = run("predict", target, tmp_path / "images.npy", "--until", "bundle", "--members", "0,1")
    assert (some.exit_code, ": name none" in said(some)) == (2, True)


def test_without_a_rule_the_command_that_makes_one_is_said(digits: Built, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", splits()[2].images[:2])
    done = run("predict", digits.path, tmp_path / "images.npy", "--until", "bundle")
    assert done.exit_code == 2
    assert "the rule 'bundle' is for a bundle that says when its members are enough" in said(done)
    assert "`hnexport evaluate BUNDLE HELD_OUT --out NEW --max-accuracy-drop 0.005`" in said(done)


def test_an_evaluation_of_the_new_bundle_has_the_curve_of_its_rule(ruled: tuple[Path, Evaluation], held: Path) -> None:
    target, fitted = ruled
    done = run("evaluate", target, held, "--json", "--provider", "cpu")
    found = from_json(Evaluation, json.loads(done.stdout))
    assert found.order == fitted.until.order
    (row,) = (one for one in found.sources[0].classification.stopped if one.until == "bundle")
    assert row.members == fitted.until.members
    judged = fitted.until.rows - fitted.until.order_rows
    assert row.changed >= round(judged * fitted.until.changed.measured)  # those that chose the order judged nothing
    assert row.scores.nll == pytest.approx(fitted.until.scores.nll, rel=1e-9)


def test_with_a_stated_loss_the_rule_is_chosen_behind_the_temperature(
    digits: Built, held: Path, tmp_path: Path
) -> None:
    done = run("evaluate", digits.path, held, "--out", tmp_path / "new", "--max-changed", "0.03", "--provider", "cpu")
    assert done.exit_code == 0, done.output
    for text in (
        "temperature 0.",
        "until, chosen on these 400 rows, 40 of which chose the order, in float32",
        "(stated: 0.03)",
        "published",
    ):
        assert text in said(done)
    manifest, part = read_manifest(tmp_path / "new"), splits()[1]
    assert manifest.temperature is not None
    logits = load(tmp_path / "new", provider="cpu").predict(part.images, members="all")
    known = choose(logits, part.labels, max_changed=0.03)
    assert (manifest.anytime.order, manifest.anytime.confidence) == (known.order, known.confidence)
    assert manifest.anytime.members == pytest.approx(known.members, abs=0.01)
    again = run("evaluate", tmp_path / "new", held, "--out", tmp_path / "twice", "--fit", "temperature,until",
                "--max-changed", "0.03")  # fmt: skip
    assert "has a temperature already" in said(again)


def test_a_rule_that_a_temperature_leaves_behind_is_said_to_be(
    ruled: tuple[Path, Evaluation], held: Path, tmp_path: Path
) -> None:
    done = run("evaluate", ruled[0], held, "--out", tmp_path / "new", "--provider", "cpu")
    assert "was chosen without this temperature" in said(done)
    assert read_manifest(tmp_path / "new").anytime is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        3,
        [
            (("--max-changed", "0.02"), "--max-changed goes with --out"),
            (("--fit", "until"), "--fit goes with --out"),
            (("--out", "new", "--fit", "until"), "--fit until needs a stated loss: --max-accuracy-drop 0.005"),
            (("--out", "new", "--fit", "all"), "--fit takes temperature and until, comma-separated, found 'all'"),
            (("--out", "new", "--fit", "temperature", "--max-changed", "0.1"), "--max-changed is for --fit until"),
            (("--out", "new", "--least", "2"), "--least is for --fit until"),
            (("--out", "new", "--max-changed", "2"), "2.0 is not in the range 0<x<1"),
            (("--out", "new", "--max-changed", "0.1", "--members", "1"), "leave --members out"),
            (("--precision", "int9"), "precision must be one of 'float32'"),
            (("--out", "new", "--max-changed", "0.001"), "400 rows cannot show that stopping costs so little"),
        ],
    ),
)
def test_what_makes_no_sense_is_a_usage_error(
    digits: Built, held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("evaluate", digits.path, held, *arguments, "--provider", "cpu")
    assert (done.exit_code, message in said(done)) == (2, True), said(done)
    assert list(tmp_path.iterdir()) == []
