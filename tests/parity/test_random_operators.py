"""A bundle's graphs draw nothing at random, whatever the runtime that judges them makes of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import rewrite_checksums
from faults import OnnxEditor
from onnx import GraphProto, NodeProto, helper, numpy_helper
from thorough import first

from hnexport.parity import Verdict, VerifyOptions, verify
from hnexport.parity.random_operators import random_operators

Copied = Callable[[str], Path]


def graph_of(editor: OnnxEditor) -> GraphProto:
    """The graph itself, or the body of the loop in it."""
    bodies = (item.g for node in editor.graph.node for item in node.attribute if item.name == "body")
    return next(bodies, editor.graph)


def plant(bundle: Path, file: str, *, training: bool = True) -> None:
    """A Dropout behind the first ReLU; onnxruntime leaves it out in either mode."""
    editor = OnnxEditor(bundle / file)
    graph = graph_of(editor)
    number = next(i for i, node in enumerate(graph.node) if node.op_type == "Relu")
    relu = graph.node[number]
    name = relu.output[0]
    relu.output[0] = "planted/relu"
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "planted/ratio"))
    graph.initializer.append(numpy_helper.from_array(np.array(training), "planted/training"))
    inputs = ["planted/relu", "planted/ratio", "planted/training"]
    graph.node.insert(number + 1, helper.make_node("Dropout", inputs, [name], name="planted"))
    editor.save()
    rewrite_checksums(bundle)


@pytest.mark.parametrize(
    ("file", "artifact"),
    first(1, [("model.onnx", "onnx"), ("network.onnx", "onnx-materialised"), ("ensemble.onnx", "onnx-ensemble")]),
)
def test_a_dropout_in_training_mode_is_different(file: str, artifact: str, copied: Copied) -> None:
    bundle = copied("hypernet")
    plant(bundle, file)
    report = verify(bundle, VerifyOptions(artifacts=(artifact,)))
    assert report.verdict is Verdict.DIFFERENT
    (failure,) = report.artifacts[0].failures
    assert failure == f"no operator is random or in training mode: {file}: Dropout planted (1 in all)"


def test_a_dropout_in_evaluation_mode_is_the_same(copied: Copied) -> None:
    bundle = copied("hypernet")
    plant(bundle, "model.onnx", training=False)
    assert verify(bundle, VerifyOptions(artifacts=("onnx",))).verdict is Verdict.SAME


NODES = {
    "a training mode that is computed": helper.make_node("Dropout", ["x", "ratio", "mode"], ["y"], name="drop"),
    "random numbers": helper.make_node("RandomNormalLike", ["x"], ["y"], name="draw"),
    "random numbers of a shape": helper.make_node("RandomUniform", [], ["y"], name="draw", shape=[2]),
    "a draw": helper.make_node("Bernoulli", ["x"], ["y"], name="draw"),
    "batch norm": helper.make_node("BatchNormalization", list("xabcd"), ["y"], name="norm", training_mode=1),
}
FINE = {
    "a dropout without a mode": helper.make_node("Dropout", ["x", "ratio"], ["y"], name="drop"),
    "batch norm": helper.make_node("BatchNormalization", list("xabcd"), ["y"], name="norm"),
}


def written(node: NodeProto, path: Path) -> Path:
    output = helper.make_tensor_value_info("y", 1, [2])
    model = helper.make_model(helper.make_graph([node], "g", [], [output]))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("name", first(2, NODES))
def test_what_is_computed_otherwise_at_each_call_is_found(name: str, tmp_path: Path) -> None:
    node = NODES[name]
    assert random_operators(written(node, tmp_path / "a.onnx")) == (f"a.onnx: {node.op_type} {node.name}",)


@pytest.mark.parametrize("name", FINE)
def test_what_is_the_same_at_each_call_is_not_accused(name: str, tmp_path: Path) -> None:
    assert random_operators(written(FINE[name], tmp_path / "a.onnx")) == ()
