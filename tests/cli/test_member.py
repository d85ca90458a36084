"""`hnexport member`: 0 published, 1 different, 2 could not be answered."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from bundles import rewrite_checksums
from fixture_types import Hnexport
from shared import built_list
from thorough import first

from hnexport.bundle import read_golden
from hnexport.names import WEIGHTS_FILE


@pytest.fixture
def bundle() -> Path:
    return built_list("cnn").path


def test_a_member_is_written_and_what_was_found_is_shown(hnexport: Hnexport, bundle: Path, tmp_path: Path) -> None:
    done = hnexport("member", bundle, "3", "--out", "plain.onnx", "--opset", "18")
    assert done.returncode == 0, done.stderr
    assert "Same: 1 of 4 members (as named) in 1 artifact agrees with PyTorch in float64" in done.stdout
    assert done.stdout.splitlines()[-1] == "plain.onnx"
    session = onnxruntime.InferenceSession(tmp_path / "plain.onnx", providers=["CPUExecutionProvider"])
    golden = read_golden(bundle)
    (logits,) = session.run(None, {"image": golden.inputs["image"]})
    assert np.allclose(logits[0], golden.outputs["logits"][3][0], rtol=1e-4)
    again = hnexport("member", bundle, "2", "--out", "plain.onnx")
    assert (again.returncode, again.stdout) == (2, "")
    assert "plain.onnx exists: choose another --out, or give --force to replace it" in again.stderr
    assert hnexport("member", bundle, "2", "--out", "plain.onnx", "--force").returncode == 0


def test_all_members_are_a_folder_and_json_names_the_files(hnexport: Hnexport, bundle: Path, tmp_path: Path) -> None:
    done = hnexport("member", bundle, "all", "--out", "members", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["files"] == {str(k): f"members/member-{k}.onnx" for k in range(4)}
    assert (found["weights_beside"], found["parity"]["verdict"]) == ([], "same")
    assert sorted(item.name for item in (tmp_path / "members").iterdir()) == [f"member-{k}.onnx" for k in range(4)]


def test_what_differs_is_not_published_and_the_exit_code_is_1(hnexport: Hnexport, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    values = np.fromfile(copy / WEIGHTS_FILE, dtype=np.float32)
    (values * np.float32(1.01)).tofile(copy / WEIGHTS_FILE)
    rewrite_checksums(copy)
    done = hnexport("member", copy, "0,1", "--out", "members")
    assert done.returncode == 1
    assert "FAILED member-0.onnx: member 0: relative L2 error" in done.stdout
    assert "nothing was published" in done.stderr
    assert json.loads(hnexport("member", copy, "0", "--out", "x.onnx", "--json").stdout)["verdict"] == "different"
    assert [item.name for item in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        2,
        [
            (["9", "--out", "x.onnx"], "member 9 does not exist: this ensemble has members 0 to 3"),
            (["all", "--out", "x.onnx"], "give a folder"),
            (["three", "--out", "x.onnx"], "is not comma-separated integers or 'all'"),
            (["1", "--out", "x.txt"], "a member is written as .onnx, .pt2, .pt, found .txt"),
            (["1", "--out", "x.pt", "--opset", "17"], "--opset is of ONNX files"),
            (["1", "--out", "x.onnx", "--opset", "16"], "opset 16: expected 17 to"),
            (["1", "--out", "x.onnx", "--batch", "0"], "a batch size is 1 to"),
            (["1"], "Missing option '--out'"),
        ],
    ),
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_has_exit_code_2_and_writes_nothing(
    hnexport: Hnexport, bundle: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = hnexport("member", bundle, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
