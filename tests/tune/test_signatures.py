"""Tuning of lists of modules: what cannot be folded is refused in a sentence, and float16 is for any signature."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from shared import built_list
from thorough import first

from hnexport.bundle import read_golden
from hnexport.cli.main import cli
from hnexport.errors import TuneError
from hnexport.rows import row_errors
from hnexport.tune import tune
from hnexport.tune.half import write_half  # type: ignore[attr-defined] # what a test or a tool reaches for there


@pytest.mark.parametrize("name", ["cnn", "reader"])
def test_a_list_of_modules_has_nothing_to_fold(name: str) -> None:
    with pytest.raises(TuneError, match=f"{name}.* generates no weights from ONNX files: there is nothing to fold"):
        tune(built_list(name).path)


def test_the_command_says_so_and_ends_as_where_something_cannot_be_done() -> None:
    done = CliRunner().invoke(cli, ["tune", str(built_list("cnn").path)])
    assert done.exit_code == 2
    assert "there is nothing to fold" in " ".join(done.output.split())


@pytest.mark.parametrize("name", first(1, ["cnn", "reader", "pixels"]))
def test_a_float16_graph_of_any_signature_keeps_what_goes_in_and_comes_out(name: str, tmp_path: Path) -> None:
    bundle = built_list(name).path
    write_half(bundle / "model.onnx", tmp_path / "half.onnx")
    initializers = onnx.load(tmp_path / "half.onnx").graph.initializer
    assert onnx.TensorProto.FLOAT not in {tensor.data_type for tensor in initializers}
    session = onnxruntime.InferenceSession(str(tmp_path / "half.onnx"), providers=["CPUExecutionProvider"])
    golden = read_golden(bundle)
    outputs = session.run(None, {"cond_id": np.array(1), **golden.inputs})
    for value, found in zip(session.get_outputs(), outputs, strict=True):
        known = golden.outputs[value.name][1]
        if found.dtype.kind == "f":
            assert found.dtype == np.float32
            assert row_errors(found, known).max() < 2e-2


def test_a_graph_in_float64_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="holds float64 tensors"):
        write_half(built_list("regressor").path / "model.onnx", tmp_path / "half.onnx")
