"""Other versions of ONNX's operators: what they mean stays, and what does not exist there is refused by its name."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hnexport.errors import ExportError
from hnexport.member.opsets import convert_opset


def model_of(node: onnx.NodeProto, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    value = [helper.make_tensor_value_info(name, dtype, [2, 3]) for name in "xy"]
    graph = helper.make_graph([node], "one", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_an_operator_that_came_later_is_spelled_out() -> None:
    model = model_of(helper.make_node("Gelu", ["x"], ["y"], name="gelu"))
    converted = convert_opset(model, 17)
    assert "Gelu" not in {node.op_type for node in converted.graph.node}
    x = np.linspace(-3, 3, 6, dtype=np.float32).reshape(2, 3)
    found, known = (
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for one in (converted, model)
    )
    assert np.allclose(found, known, atol=1e-6)


def test_an_operator_without_a_body_is_refused_by_its_name() -> None:
    model = model_of(helper.make_node("StringConcat", ["x", "x"], ["y"], name="joined"), TensorProto.STRING)
    with pytest.raises(ExportError, match=r"opset 17 has no StringConcat \(joined\): give a newer opset, or none"):
        convert_opset(model, 17)


def test_its_own_opset_leaves_a_model_as_it_is() -> None:
    model = model_of(helper.make_node("Relu", ["x"], ["y"]))
    assert convert_opset(model, 20) is model
