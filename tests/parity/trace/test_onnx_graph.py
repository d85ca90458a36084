"""What depends on what in an ONNX graph, in subgraphs too, and traces of any inputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hnexport.parity.trace.frames import pack_trace, unpack_trace
from hnexport.parity.trace.onnx_graph import dependent, reads
from hnexport.parity.trace.onnx_roles import by_role
from hnexport.parity.trace.onnx_trace import OnnxTracer


def looped() -> onnx.ModelProto:
    """`y = x + 3 * shared.w`, the sum in a Loop whose body reads both from outside; `n` counts elements."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["held", "shared.w"], ["next"]),
            helper.make_node("Add", ["next", "zero"], ["kept"]),
            helper.make_node("Identity", ["go"], ["going"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, None),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["x", "x"], ["zero"], name="network/Sub"),
            helper.make_node("Loop", ["three", "", "start"], ["sum"], name="loop/Loop", body=body),
            helper.make_node("Add", ["x", "sum"], ["y"], name="last/Add"),
            helper.make_node("Size", ["x"], ["n"], name="network/Size"),
        ],
        "looped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor("shared.w", TensorProto.FLOAT, [1], [2.0]),
            helper.make_tensor("start", TensorProto.FLOAT, [1], [0.0]),
            helper.make_tensor("three", TensorProto.INT64, [], [3]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_loop_depends_on_what_its_body_reads_from_outside() -> None:
    model = looped()
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    assert {"shared.w", "zero"} <= set(reads(loop))
    assert "held" not in set(reads(loop))
    nodes, reached = dependent(model, ["x"])
    assert {node.op_type for node in nodes} == {"Sub", "Loop", "Add", "Size"}
    assert "sum" in reached


def test_a_graph_with_a_loop_and_one_axis_is_traced(tmp_path: Path) -> None:
    onnx.save(looped(), tmp_path / "looped.onnx")
    trace = OnnxTracer(tmp_path / "looped.onnx", ["w"]).run({"x": np.array([1, 5], dtype=np.float32)})
    assert trace.outputs["y"].tolist() == [7.0, 11.0]
    assert trace.outputs["n"].tolist() == 2
    assert "n" not in trace.values
    assert trace.given.named["w"].tolist() == [2.0]


def test_nodes_that_stand_before_what_they_read_are_put_in_order() -> None:
    model = looped()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    found = [node.name for node in dependent(model, ["x"])[0]]
    assert found.index("network/Sub") < found.index("loop/Loop") < found.index("last/Add")


def test_a_trace_comes_out_of_a_confined_process_as_it_is(tmp_path: Path) -> None:
    onnx.save(looped(), tmp_path / "looped.onnx")
    trace = OnnxTracer(tmp_path / "looped.onnx", ["w"]).run({"x": np.array([1, 5], dtype=np.float32)})
    meta, arrays = pack_trace(trace)
    back = unpack_trace(meta, arrays)
    assert [call.name for call in back.given.calls] == [call.name for call in trace.given.calls]
    assert list(back.values) == list(trace.values)
    assert back.outputs["y"].tolist() == [7.0, 11.0]
    for wrong in ({**meta, "values": 10**6}, {**meta, "values": -1}, {**meta, "outputs": 0}, {**meta, "loose": "all"}):
        with pytest.raises(ValueError, match="arrays than it says"):
            unpack_trace(wrong, arrays)


def test_a_recurrent_layers_gates_are_given_in_pytorchs_order() -> None:
    node = helper.make_node("GRU", ["x", "w", "r", "b"], ["y"])
    gates = np.array([[[1.0], [0.0], [2.0]]])  # ONNX: update, reset, hidden
    assert by_role(node, {1: gates})["1.0.0"].reshape(-1).tolist() == [0, 1, 2]
    node = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"])
    assert by_role(node, {3: np.array([[0.0, 3, 1, 2, 10, 13, 11, 12]])})["3.0.1"].tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize(("operator", "transposed"), [("Gemm", True), ("MatMul", True), ("Gather", False)])
def test_a_matrix_has_its_axes_in_pytorchs_order(operator: str, transposed: bool) -> None:
    node = helper.make_node(operator, ["x", "w"] if operator != "Gather" else ["w", "x"], ["y"])
    matrix = np.arange(6.0).reshape(2, 3)
    found = by_role(node, {0 if operator == "Gather" else 1: matrix})
    assert np.array_equal(found["weight"], matrix.T if transposed else matrix)
