"""A Gather that counts is left out: what the graph computes stays, at every batch size."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hnexport.parity.trace.onnx_graph import open_values
from hnexport.quantise.counting import drop_counting
from hnexport.spec import OutputSpec, Signature, TensorSpec


def viewed(start: int = 0, channels: int = 4) -> onnx.ModelProto:
    """Images `[batch, 4, 1, 1]` through a flat Gather, as exporters write a view: indices from the batch's size."""
    nodes = [
        helper.make_node("Relu", ["image"], ["x"]),
        helper.make_node("Reshape", ["x", "flat"], ["r"]),
        helper.make_node("Shape", ["image"], ["n"], start=0, end=1),
        helper.make_node("Squeeze", ["n"], ["m"]),
        helper.make_node("Range", ["zero", "m", "one"], ["rows"]),
        helper.make_node("Mul", ["rows", "four"], ["places"]),
        helper.make_node("Unsqueeze", ["places", "axes"], ["column"]),
        helper.make_node("Add", ["column", "within"], ["index"]),
        helper.make_node("Gather", ["r", "index"], ["g"]),
        helper.make_node("Neg", ["g"], ["y"]),
    ]
    within = (np.arange(channels) + start).reshape(1, channels, 1, 1) % channels
    values = {"flat": [-1], "zero": 0, "one": 1, "four": 4, "axes": [1, 2, 3], "within": within}
    initializers = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in values.items()]
    sizes = ["batch", 4, 1, 1]
    graph = helper.make_graph(
        nodes,
        "viewed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", dtype="float32", shape=("batch", 4, 1, 1)),),
    outputs=(OutputSpec(name="y", dtype="float32", shape=("batch", 4, 1, 1)),),
)


@pytest.mark.parametrize(("start", "gathers"), [(0, 0), (1, 1)], ids=["counts", "rotates"])
def test_only_what_counts_is_left_out_and_the_numbers_stay(tmp_path: Path, start: int, gathers: int) -> None:
    model, path = viewed(start), tmp_path / "model.onnx"
    onnx.save(model, path)
    drop_counting(model, path, SIGNATURE)
    assert [node.op_type for node in model.graph.node].count("Gather") == gathers
    assert ("Range" in {node.op_type for node in model.graph.node}) == bool(gathers)
    for batch in (1, 2, 5):
        image = np.random.default_rng(batch).normal(size=(batch, 4, 1, 1)).astype(np.float32)
        known = open_values(onnx.load(path), path, ["y"]).run(["y"], {"image": image})[0]
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        np.testing.assert_array_equal(open_values(copy, path, ["y"]).run(["y"], {"image": image})[0], known)
