"""`hnexport evaluate`: tables and JSON, and what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from digits import TrainedDigits, splits
from shared import built_kind

from hnexport.cli.main import cli
from hnexport.evaluate import Evaluation
from hnexport.records import from_json


@pytest.fixture(scope="module")
def digits():
    return built_kind("digits", TrainedDigits())


@pytest.fixture
def evaluate(digits, tmp_path):
    tested = splits()[2]
    np.savez(tmp_path / "test.npz", input=tested.images, label=tested.labels)

    def run(*arguments, data="test.npz"):
        command = ["evaluate", str(digits.path), str(tmp_path / data), *map(str, arguments), "--provider", "cpu"]
        return CliRunner().invoke(cli, command)

    return run


def test_json_is_the_evaluation(evaluate):
    done = evaluate("--json", "--bins", 7)
    assert (done.exit_code, done.stderr) == (0, "")
    found = from_json(Evaluation, json.loads(done.stdout, parse_constant=pytest.fail))
    assert found.bins == 7
    assert len(found.sources[0].classification.reliability) == 7


def test_the_table_shows_members_ensemble_and_gain(evaluate, tmp_path):
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


def test_named_classes_and_damaged_data_are_told(evaluate, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join("abc"))
    done = evaluate("--labels", tmp_path / "names.txt")
    assert (done.exit_code, "expected 10 labels, one a line, found 3" in done.stderr) == (2, True)
    done = evaluate(data="missing.npz")
    assert (done.exit_code, "it is missing" in done.stderr) == (2, True)
