"""`hnexport golden` and `hnexport verify --outputs`: 0 the same, 1 different, 2 could not be answered."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixture_types import Hnexport
from shared import Built
from thorough import first

from hnexport.bundle import read_golden


def put(folder: Path, member: int, logits: Any) -> None:
    (folder / f"member-{member}").mkdir(exist_ok=True)
    np.save(folder / f"member-{member}" / "logits.npy", logits)


def test_golden_inputs_are_written_and_outputs_are_judged(hnexport: Hnexport, built: Built, tmp_path: Path) -> None:
    done = hnexport("golden", built.path, "--out", tmp_path / "golden")
    assert done.returncode == 0, done.stderr
    assert "hnexport verify BUNDLE --outputs FOLDER" in done.stdout
    golden = read_golden(built.path)
    for member, logits in enumerate(golden.outputs["logits"]):
        put(tmp_path / "golden", member, logits)
    assert hnexport("verify", built.path, "--outputs", tmp_path / "golden").returncode == 0
    put(tmp_path / "golden", 0, golden.outputs["logits"][1])
    done = hnexport("verify", built.path, "--outputs", tmp_path / "golden")
    assert done.returncode == 1
    assert "FAILED outputs: member 0" in done.stdout
    put(tmp_path / "golden", 0, golden.outputs["logits"][0])
    shutil.rmtree(tmp_path / "golden" / "member-1")
    done = hnexport("verify", built.path, "--outputs", tmp_path / "golden", "--json")
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert (report["verdict"], list(report["refused"])) == ("unanswered", ["outputs, member 1"])
    done = hnexport("verify", built.path, "--outputs", tmp_path / "golden")
    assert "not run: outputs, member 1" in done.stdout


def test_members_can_be_chosen_and_what_is_there_stays(hnexport: Hnexport, built: Built, tmp_path: Path) -> None:
    done = hnexport("golden", built.path, "--out", tmp_path / "golden", "--members", "2,0")
    assert done.returncode == 0, done.stderr
    index = json.loads((tmp_path / "golden" / "golden.json").read_text(encoding="utf-8"))
    assert index["members"] == [2, 0]
    assert "set the input cond_id to that id and run all of inputs/image, in batches" in index["what_to_do"]
    done = hnexport("golden", built.path, "--out", tmp_path / "golden")
    assert done.returncode == 2
    assert "exists: choose another --out" in done.stderr


MORE = (["--runtimes", "onnx"], ["--batch-sizes", "1"], ["--provider", "cpu"], ["--replay", "x"], ["--bundle", "b"])


@pytest.mark.parametrize(
    "more",
    first(1, map(pytest.param, MORE)),
    ids=lambda more: more[0],
)
def test_options_that_run_a_model_contradict_outputs(
    hnexport: Hnexport, built: Built, tmp_path: Path, more: list[str]
) -> None:
    done = hnexport("verify", built.path, "--outputs", tmp_path, *more)
    assert done.returncode == 2
    assert "--outputs" in done.stderr
