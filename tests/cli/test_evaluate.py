"""`hnexport evaluate`: tables and JSON, and what it refuses."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from diabetes import TrainedRegressors, held_out
from digits import USAGE, TrainedDigits, splits
from interruptible import interruptible
from shared import Built, built_kind

from hnexport.bundle.manifest import read_identified
from hnexport.cli.main import cli
from hnexport.evaluate import Evaluation
from hnexport.records import from_json


@pytest.fixture(scope="module")
def digits() -> Built:
    return built_kind("digits", TrainedDigits())


@pytest.fixture
def evaluate(digits: Built, tmp_path: Path) -> Callable[..., Result]:
    tested = splits()[2]
    np.savez(tmp_path / "test.npz", input=tested.images, label=tested.labels)

    def run(*arguments: object, data: str = "test.npz") -> Result:
        command = ["evaluate", str(digits.path), str(tmp_path / data), *map(str, arguments), "--provider", "cpu"]
        return CliRunner().invoke(cli, command)

    return run


def test_json_is_the_evaluation(evaluate: Callable[..., Result]) -> None:
    done = evaluate("--json", "--bins", 7)
    assert (done.exit_code, done.stderr) == (0, "")
    found = from_json(Evaluation, json.loads(done.stdout, parse_constant=pytest.fail))
    assert found.bins == 7
    assert len(found.sources[0].classification.reliability) == 7


def test_the_table_shows_members_ensemble_and_gain(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", input=np.random.default_rng(0).random((50, 1, 8, 8), np.float32))
    done = evaluate("--ood", tmp_path / "other.npz")
    assert done.exit_code == 0
    for text in ("member 0", "member 2", "members' mean", "ensemble", "gain", "ECE, 15 bins", "two members answer"):
        assert text in done.stdout
    assert "other data: 50 samples of" in done.stdout
    assert "mutual information" in done.stdout
    one = evaluate("--members", 1).stdout
    assert "member 1" in one
    assert "gain" not in one
    assert "mutual information" not in one


def test_named_classes_and_damaged_data_are_told(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join("abc"))
    done = evaluate("--labels", tmp_path / "names.txt")
    assert (done.exit_code, "expected 10 labels, one a line, found 3" in done.stderr) == (2, True)
    done = evaluate(data="missing.npz")
    assert (done.exit_code, "it is missing" in done.stderr) == (2, True)


def test_arrays_are_not_normalised(evaluate: Callable[..., Result]) -> None:
    done = evaluate("--mean", "0.5", "--std", "0.25")
    assert done.exit_code == 2
    assert "the data hold arrays, which are taken as they are: leave --mean and --std out" in " ".join(
        done.stderr.split()
    )
    done = evaluate("--mean", "0.5")
    assert (done.exit_code, "--mean goes with --std" in done.stderr) == (2, True)


def test_a_page_is_written_and_nothing_is_replaced(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    done = evaluate("--page", tmp_path / "report.html", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    written = (tmp_path / "report.html").read_text()
    assert "<h2>Reliability</h2>" in written
    done = evaluate("--page", tmp_path / "report.html")
    assert done.exit_code == 2
    assert "exists: choose another --page" in " ".join(done.stderr.split())
    assert (tmp_path / "report.html").read_text() == written


def test_values_have_a_table_of_their_own(tmp_path: Path) -> None:
    bundle = built_kind("diabetes", TrainedRegressors()).path
    features, targets = held_out()
    np.savez(tmp_path / "test.npz", input=features, y=targets)
    np.savez(tmp_path / "far.npz", input=features * np.float32(4))
    command = ["evaluate", bundle, tmp_path / "test.npz", "--ood", tmp_path / "far.npz", "--runtimes", "onnx"]
    done = CliRunner().invoke(cli, [*map(str, command), "--provider", "cpu"])
    assert done.exit_code == 0, done.output
    for text in (
        "member 2",
        "ensemble",
        "RMSE",
        "CRPS",
        "NLL",
        "targets:",
        "in the middle 90%",
        "standard deviation: 0.",
    ):
        assert text in done.stdout
    assert "differences from float64" in done.stdout


def test_a_temperature_is_fitted_and_published(evaluate: Callable[..., Result], digits: Built, tmp_path: Path) -> None:
    held = splits()[1]
    np.savez(tmp_path / "held.npz", input=held.images, label=held.labels)
    done = evaluate("--out", tmp_path / "new", data="held.npz")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    identified = read_identified(tmp_path / "new")
    digest = identified.digest
    assert identified.manifest.usage == USAGE
    assert "fitted on these 400 rows: the ensemble's NLL there goes from" in said
    assert f"published {tmp_path / 'new'}, {digest}" in said
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "new")]).stdout
    assert f"fitted on 400 rows, of {digits.digest}" in " ".join(shown.split())
    again = evaluate("--out", tmp_path / "new", "--json", data="held.npz")
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    command = ["evaluate", str(tmp_path / "new"), str(tmp_path / "none.npz"), "--out", str(tmp_path / "twice")]
    twice = CliRunner().invoke(cli, command)
    assert "has a temperature already" in " ".join(twice.stderr.split()), "said before data are read"
    some = evaluate("--out", tmp_path / "some", "--members", 1, data="held.npz")
    assert (some.exit_code, "leave --members out" in " ".join(some.stderr.split())) == (2, True)
    itself = evaluate("--out", digits.path, "--force", data="held.npz")
    assert (itself.exit_code, "is the bundle itself, which stays" in " ".join(itself.stderr.split())) == (2, True)
    forced = evaluate("--out", tmp_path / "new", "--force", "--json", data="held.npz")
    assert json.loads(forced.stdout)["derived"] == read_identified(tmp_path / "new").digest


@pytest.mark.thorough
def test_an_interrupt_while_the_new_bundle_is_written_leaves_neither_it_nor_the_page(
    digits: Built, tmp_path: Path
) -> None:
    held = splits()[1]
    np.savez(tmp_path / "held.npz", input=held.images, label=held.labels)
    command = interruptible(
        *("evaluate", digits.path, tmp_path / "held.npz", "--provider", "cpu", "--page", tmp_path / "page.html"),
        *("--out", tmp_path / "new", "--trust"),
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(tmp_path.glob(".hnexport-*-new/new/model.onnx")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        shown, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in shown + error
    assert [path.name for path in tmp_path.iterdir()] == ["held.npz"]
