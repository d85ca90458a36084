"""A NaN that a maximum loses is no fault; one that anything else loses is, also before and behind a maximum."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from bundles import rewrite_checksums, without_claims
from faults import OnnxEditor
from onnx import ModelProto, helper, numpy_helper
from thorough import first
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.parity import Verdict, VerifyOptions, verify
from hnexport.parity.nan_marks import mark_maxima

ARTIFACTS = {"onnx": "model.onnx", "onnx-materialised": "network.onnx", "onnx-ensemble": "ensemble.onnx"}


class Pooled(nn.Module):
    """Maxima of three kinds; onnxruntime 1.31 loses NaN in the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3), nn.Linear(6, 3)

    def forward(self, series: Tensor) -> Tensor:
        hidden = F.max_pool1d(torch.relu(self.first(series)), 2)
        hidden = torch.relu(self.second(hidden))
        best, _ = hidden.topk(2, dim=2)
        return self.out(torch.cat([hidden.amax(2), best[:, 0]], 1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    modules = []
    for seed in range(2):
        torch.manual_seed(seed)
        modules.append(Pooled().eval())
    ensemble = Ensemble.from_modules(modules, example_inputs={"series": torch.randn(2, 2, 12)})
    target = tmp_path_factory.mktemp("pooled") / "bundle"
    build(ensemble, target, options=BuildOptions(formats=(Format.ONNX,)))
    return target


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(whole, tmp_path / "bundle"))
    without_claims(copy)
    return copy


def nan_to_zero(editor: OnnxEditor, op_type: str) -> None:
    """Behind the first operator of a kind, in the graph or in its loop's body."""
    bodies = (item.g for node in editor.graph.node for item in node.attribute if item.name == "body")
    graph = next(bodies, editor.graph)
    number = next(i for i, node in enumerate(graph.node) if node.op_type == op_type)
    node = graph.node[number]
    name = node.output[0]
    node.output[0] = "planted/value"
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "planted/zero"))
    graph.node.insert(number + 1, helper.make_node("IsNaN", ["planted/value"], ["planted/nan"]))
    where = helper.make_node("Where", ["planted/nan", "planted/zero", "planted/value"], [name])
    graph.node.insert(number + 2, where)


@pytest.mark.parametrize("artifact", first(1, ARTIFACTS))
def test_a_maximum_that_loses_nan_is_not_accused_and_said(artifact: str, bundle: Path) -> None:
    report = verify(bundle, VerifyOptions(artifacts=(artifact,)))
    assert report.verdict is Verdict.SAME
    if artifact != "onnx-ensemble":
        assert any(
            "its maxima pass over NaN, so that output may be" in check.detail for check in report.artifacts[0].checks
        )


@pytest.mark.each_once
@pytest.mark.parametrize("op_type", ["Conv", "Relu", "Concat"])
@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_a_nan_that_anything_else_loses_is_found(artifact: str, op_type: str, bundle: Path) -> None:
    editor = OnnxEditor(bundle / ARTIFACTS[artifact])
    nan_to_zero(editor, op_type)
    editor.save()
    rewrite_checksums(bundle)
    report = verify(bundle, VerifyOptions(artifacts=(artifact,)))
    assert report.verdict is Verdict.DIFFERENT
    assert any("NaN" in line for line in report.artifacts[0].failures)


def graph_of(op_type: str, inputs: list[str], outputs: int = 1, **attributes: object) -> ModelProto:
    names = ["y", "z"][:outputs]
    held = [numpy_helper.from_array(np.array([1], np.int64), "axis")]
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x", *inputs], names, **attributes)],
        "graph",
        [helper.make_tensor_value_info("x", 1, [1, 6, 9])],
        [helper.make_tensor_value_info("y", 1, None)],
        initializer=held if inputs else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


MAXIMA = {
    "MaxPool": graph_of("MaxPool", [], kernel_shape=[2], strides=[2]),
    "MaxPool with indices": graph_of("MaxPool", [], 2, kernel_shape=[3], strides=[1]),
    "GlobalMaxPool": graph_of("GlobalMaxPool", []),
    "ReduceMax": graph_of("ReduceMax", ["axis"], keepdims=0),
    "ReduceMin": graph_of("ReduceMin", ["axis"]),
    "TopK": graph_of("TopK", ["axis"], 2, axis=1),
}


@pytest.mark.parametrize("name", first(3, MAXIMA))
def test_marks_keep_every_nan_and_change_no_number(name: str) -> None:
    model = ModelProto()
    model.CopyFrom(MAXIMA[name])
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert mark_maxima(model)
    marked = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((1, 6, 9)).astype(np.float32)
    assert np.array_equal(plain.run(["y"], {"x": x})[0], marked.run(["y"], {"x": x})[0])
    x[0, :, 4] = np.nan
    found = marked.run(["y"], {"x": x})[0]
    assert np.isnan(found).any()
    assert np.isnan(marked.run(["y"], {"x": np.full_like(x, np.nan)})[0]).all()


def test_a_graph_without_maxima_stays_as_it_is() -> None:
    model = graph_of("Relu", [])
    before = model.SerializeToString()
    assert not mark_maxima(model)
    assert model.SerializeToString() == before
