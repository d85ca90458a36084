"""`locate` accuses no correct artifact and copes with files that others changed (faults: `test_mutations`)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from faults import ONNX_FAULTS
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from hnexport.errors import ParityError
from hnexport.parity import Precision
from hnexport.parity.locate import locate
from hnexport.parity.locate.activations import value_error


@pytest.mark.each_once
@pytest.mark.parametrize("artifact", ["onnx", "torchscript", "pt2"])
@pytest.mark.parametrize("kind", ["hypernet", "batch-ensemble", "pixels"])
def test_locate_finds_nothing_in_a_correct_artifact(kind: str, artifact: str, pristine: Callable[[str], Path]) -> None:
    report = locate(pristine(kind), artifact)
    assert report.first is None, report.first
    assert len(report.steps) > 30


def changed_by_others(bundle: Path, path: Path, change: Callable[[onnx.ModelProto], onnx.ModelProto]) -> Path:
    model = onnx.load(bundle / "model.onnx")
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    onnx.save(change(model), path)
    return path


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """No name survives, as after many simplifiers."""
    fixed = {item.name for item in (*model.graph.input, *model.graph.output)}
    names: dict[str, str] = {}
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [
                name if name in fixed or not name else names.setdefault(name, f"v{len(names)}") for name in field
            ]
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    del model.graph.value_info[:]
    return model


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every weight through float16 and back, as a converter leaves them."""
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size > 1:
            tensor.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float16).astype(np.float32), tensor.name))
    return model


def test_locate_needs_no_names(pristine: Callable[[str], Path], tmp_path: Path) -> None:
    file = changed_by_others(pristine("hypernet"), tmp_path / "renamed.onnx", renamed)
    report = locate(pristine("hypernet"), str(file))
    assert report.first is None, report.first


def test_locate_judges_a_file_that_was_rounded_to_float16(pristine: Callable[[str], Path], tmp_path: Path) -> None:
    file = changed_by_others(pristine("hypernet"), tmp_path / "rounded.onnx", rounded)
    strict = locate(pristine("hypernet"), str(file))
    assert (strict.stage, strict.first and strict.first.place) == ("weight generation", "hypernet.input.embedding")
    assert locate(pristine("hypernet"), str(file), precision=Precision.FLOAT16).first is None


def test_locate_judges_what_a_float16_converter_made(pristine: Callable[[str], Path], tmp_path: Path) -> None:
    """It leaves nodes before the ones that they read, which onnxruntime sorts."""
    file = tmp_path / "float16.onnx"
    model = onnx.load(pristine("hypernet") / "model.onnx")
    onnx.save(convert_float_to_float16(model, keep_io_types=True), file)
    strict = locate(pristine("hypernet"), str(file))
    assert strict.stage == "weight generation"
    assert strict.first is not None
    assert (strict.first.place, strict.first.detail) == (
        "hypernet.input.embedding",
        "it is the member's own with less precision",
    )
    assert not [step for step in strict.steps if "not in the artifact" in step.detail]
    assert locate(pristine("hypernet"), str(file), precision=Precision.FLOAT16).first is None


def test_locate_judges_what_a_quantiser_made(pristine: Callable[[str], Path], tmp_path: Path) -> None:
    file = tmp_path / "int8.onnx"
    onnx.save(onnx.load(pristine("hypernet") / "model.onnx"), tmp_path / "whole.onnx")
    quantize_dynamic(tmp_path / "whole.onnx", file, weight_type=QuantType.QInt8)
    report = locate(pristine("hypernet"), str(file), precision=Precision.FLOAT16)
    assert report.first is not None
    assert [step.passed for step in report.steps if step.place == "logits"] == [False]


def test_locate_forgives_what_an_optimiser_fused(copied: Callable[[str], Path]) -> None:
    bundle, options = copied("batch-ensemble"), onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(bundle / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(bundle / "model.onnx"), options)
    report = locate(bundle, options.optimized_model_filepath)
    assert report.first is None, report.first


@pytest.mark.thorough
def test_locate_follows_the_member_with_the_largest_error(copied: Callable[[str], Path]) -> None:
    bundle = copied("hypernet")
    next(fault for fault in ONNX_FAULTS if fault.name == "two members swapped").plant(bundle)
    assert locate(bundle, "onnx").member in (0, 1)
    assert locate(bundle, "onnx", member=2).first is None


@pytest.mark.parametrize(("against", "message"), [("nothing.onnx", "not a file"), ("onnx", "member 9 does not exist")])
def test_locate_says_what_it_cannot_answer(against: str, message: str, pristine: Callable[[str], Path]) -> None:
    with pytest.raises(ParityError, match=message):
        locate(pristine("hypernet"), against, member=9)


def test_a_value_beside_one_that_is_all_zero_is_infinitely_wrong() -> None:
    assert value_error(1e5 * np.ones((2, 3)), np.zeros((2, 3))) == np.inf
    assert value_error(np.zeros((2, 3)), np.zeros((2, 3))) == 0.0
