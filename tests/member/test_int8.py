"""A member's file in int8: standard operators, computed right, and told what it changes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from shared import Built

from hnexport.cli.main import cli
from hnexport.errors import RuntimeInputError, TuneFailedError
from hnexport.member import MemberOptions, write_members
from hnexport.quantise.cost import Budget
from hnexport.quantise.options import Int8Options
from hnexport.runtime import load


@pytest.fixture(scope="module")
def images(built: Built) -> NDArray[Any]:
    shape = built.manifest.signature.inputs[0].shape[1:]
    return np.random.default_rng(5).normal(size=(24, *shape)).astype(np.float32)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, images: NDArray[Any]) -> Path:
    path = tmp_path_factory.mktemp("samples") / "images.npy"
    np.save(path, images)
    return path


def test_the_file_is_plain_int8_that_any_loader_opens(
    built: Built, samples: Path, images: NDArray[Any], tmp_path: Path
) -> None:
    options = MemberOptions(calibration=samples, int8=Int8Options(samples=16))
    written = write_members(built.path, [2], tmp_path / "two.onnx", options=options)
    model = onnx.load(tmp_path / "two.onnx")
    assert {opset.domain for opset in model.opset_import} == {""}
    assert sum(tensor.data_type == onnx.TensorProto.INT8 for tensor in model.graph.initializer) > 10
    session = onnxruntime.InferenceSession(str(tmp_path / "two.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": images})[0]
    known = load(built.path, provider="cpu").predict(images, member=2)
    assert 1e-3 < np.linalg.norm(found - known) / np.linalg.norm(known) < 0.1
    assert written.costs[2].relative_l2 < 0.1
    assert written.costs[2].accuracy is None


def test_it_is_what_the_runtime_gives_in_int8(
    built: Built, samples: Path, images: NDArray[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hnexport.tune.int8 import quantised

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = Int8Options(samples=16)
    quantised(built.path, samples, options=options)
    write_members(built.path, [1], tmp_path / "one.onnx", options=MemberOptions(calibration=samples, int8=options))
    session = onnxruntime.InferenceSession(str(tmp_path / "one.onnx"), providers=["CPUExecutionProvider"])
    found = load(built.path, precision="int8").predict(images, member=1)
    np.testing.assert_array_equal(found, session.run(None, {"image": images})[0])


def test_what_does_not_go_with_int8_is_refused_and_nothing_is_written(
    built: Built, samples: Path, tmp_path: Path
) -> None:
    for target, options in (
        ("a.pt2", MemberOptions(calibration=samples)),
        ("a.onnx", MemberOptions(calibration=samples, opset=17)),
        ("a.onnx", MemberOptions(calibration=samples, batch=1)),
    ):
        with pytest.raises(RuntimeInputError, match="int8 is for ONNX files in the bundle's opset"):
            write_members(built.path, [0], tmp_path / target, options=options)
    strict = Int8Options(samples=16, budget=Budget(agreement=1.01))
    with pytest.raises(TuneFailedError, match="member 0 answers as float32 does for"):
        write_members(built.path, [0], tmp_path / "a.onnx", options=MemberOptions(calibration=samples, int8=strict))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_and_tells(built: Built, samples: Path, tmp_path: Path) -> None:
    given = ["member", str(built.path), "0", "--precision", "int8", "--calibration", str(samples), "--samples", "16"]
    done = CliRunner().invoke(cli, [*given, "--out", str(tmp_path / "a.onnx")])
    assert done.exit_code == 0, done.output
    assert "each file computes what its rounded network gives in float64" in done.stdout
    assert "what fewer bits change, by 8 samples of " in done.stdout
    told = json.loads(CliRunner().invoke(cli, [*given, "--out", str(tmp_path / "b.onnx"), "--json"]).stdout)
    assert set(told["int8"]) == {"members", "judged", "kept"}
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
