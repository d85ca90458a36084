"""A member's file in half precision: near, judged by the tolerance of its precision, and told what it changes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from shared import Built
from thorough import first

from hnexport.cli.main import cli
from hnexport.errors import RuntimeInputError, TuneFailedError
from hnexport.member import MemberOptions, write_members
from hnexport.quantise.cost import Budget
from hnexport.quantise.options import Int8Options
from hnexport.runtime import load
from hnexport.spec.precision import Precision

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@pytest.fixture(scope="module")
def images(built: Built) -> NDArray[Any]:
    shape = built.manifest.signature.inputs[0].shape[1:]
    return np.random.default_rng(5).normal(size=(24, *shape)).astype(np.float32)


@pytest.mark.parametrize("precision", first(1, DTYPES))
def test_a_program_multiplies_in_half_precision_and_keeps_the_rest(
    precision: str, built: Built, images: NDArray[Any], tmp_path: Path
) -> None:
    options = MemberOptions(precision=Precision(precision), trust=True)
    written = write_members(built.path, [2], tmp_path / "two.pt2", options=options)
    program = torch.export.load(tmp_path / "two.pt2")
    held = [tensor for tensor in program.state_dict.values() if tensor.dtype is DTYPES[precision]]
    assert len(held) == 12  # every convolution, and the last layer
    assert not any(tensor.dim() > 1 and tensor.dtype is torch.float32 for tensor in program.state_dict.values())
    found = program.module()(torch.from_numpy(images)).detach()
    assert found.dtype is torch.float32
    known = load(built.path, provider="cpu").predict(images, member=2)
    error = np.linalg.norm(found.numpy() - known) / np.linalg.norm(known)
    assert 1e-5 < error < (0.02 if precision == "float16" else 0.1)
    assert 0 < written.costs[2].relative_l2 < 0.1
    assert written.parity.precision is Precision(precision)


def test_torchscript_and_onnx_have_it_too(built: Built, images: NDArray[Any], tmp_path: Path) -> None:
    known = load(built.path, provider="cpu").predict(images, member=1)
    write_members(built.path, [1], tmp_path / "one.pt", options=MemberOptions(precision=Precision.BFLOAT16, trust=True))
    found = torch.jit.load(tmp_path / "one.pt")(torch.from_numpy(images)).detach().numpy()
    assert 1e-5 < np.linalg.norm(found - known) / np.linalg.norm(known) < 0.1
    one = write_members(built.path, [1], tmp_path / "one.onnx", options=MemberOptions(precision=Precision.FLOAT16))
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "one.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    assert one.judged == "the bundle's golden samples"
    assert any(item.key == "hnexport.member" for item in onnx.load(tmp_path / "one.onnx").metadata_props)


def test_what_it_changes_is_told_and_a_budget_refuses_it(built: Built, images: NDArray[Any], tmp_path: Path) -> None:
    known = load(built.path, provider="cpu").predict(images, member=0).argmax(-1)
    np.savez(tmp_path / "images.npz", image=images, label=known)
    given = ["member", str(built.path), "0", "--precision", "float16", "--calibration", str(tmp_path / "images.npz")]
    done = CliRunner().invoke(cli, [*given, "--out", str(tmp_path / "a.onnx"), "--json", "--max-accuracy-drop", "0.1"])
    assert json.loads(done.stdout)["float16"]["judged"].startswith("24 samples of ")
    told = json.loads(done.stdout)["float16"]["members"]["0"]
    assert told["accuracy_float32"] == 1.0
    assert told["accuracy"] > 0.9
    assert 0 < told["relative_l2"] < 0.02
    options = MemberOptions(precision=Precision.FLOAT16, int8=Int8Options(budget=Budget(agreement=1.01)))
    with pytest.raises(TuneFailedError, match="member 0 answers as float32 does for"):
        write_members(built.path, [0], tmp_path / "b.onnx", options=options)
    assert not (tmp_path / "b.onnx").exists()


def test_what_a_format_has_not_is_refused(built: Built, tmp_path: Path) -> None:
    for options, said in (
        (MemberOptions(precision=Precision.BFLOAT16), "a .onnx is written in float32, float16, int8, found bfloat16"),
        (MemberOptions(precision=Precision.TF32), "found tf32"),
        (MemberOptions(precision=Precision.FLOAT16, batch=2), "float16 is for any batch"),
        (MemberOptions(precision=Precision.INT8), "int8 needs calibration"),
    ):
        with pytest.raises(RuntimeInputError, match=said):
            write_members(built.path, [0], tmp_path / "a.onnx", options=options)
    done = CliRunner().invoke(
        cli, ["member", str(built.path), "0", "--precision", "float16", "--samples", "3", "--out", "a.onnx"]
    )
    assert "--samples is for --precision int8" in done.output
