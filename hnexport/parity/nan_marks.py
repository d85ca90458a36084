"""Whether it is only maxima (pooling, ReduceMax and ReduceMin, TopK) that lose a NaN: onnxruntime's do in some shapes.

The graph is run once more with NaN put behind each maximum whose operand holds one. What is a number then too was made
one by something else.
"""

from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

__all__ = ["mark_maxima"]

_MAXIMA = frozenset({"GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMin", "TopK"})


def mark_maxima(model: ModelProto) -> bool:
    """Put NaN behind every maximum of a graph, of graphs inside nodes and of functions too; whether there are any."""
    found = _mark(model.graph)
    for function in model.functions:
        found |= _mark_nodes(function.node, function.name)
    return found


def _mark(graph: GraphProto) -> bool:
    found = _mark_nodes(graph.node, graph.name)
    if found:
        del graph.value_info[:]
    return found


def _mark_nodes(nodes: Any, where: str) -> bool:
    """The same of nodes, a field of a message that is changed."""
    marked: list[NodeProto] = []
    found = False
    for number, node in enumerate(nodes):
        for item in node.attribute:
            inner = [item.g] if item.type == AttributeProto.GRAPH else item.graphs
            for graph in inner:
                found |= _mark(graph)
        is_maximum = node.op_type in _MAXIMA and node.domain in ("", "ai.onnx")
        found |= is_maximum
        marked += _with_mark(node, f"nan marks/{where}/{number}") if is_maximum else [node]
    copies = [_copy(node) for node in marked]
    del nodes[:]
    nodes.extend(copies)
    return found


def _with_mark(node: NodeProto, name: str) -> list[NodeProto]:
    """The node, and NaN wherever the same maximum over the operand's NaNs finds one."""
    over = _copy(node)
    over.op_type = {"ReduceMin": "ReduceMax", "TopK": "ReduceMax"}.get(node.op_type, node.op_type)
    if node.op_type == "TopK":  # all that it returns
        axis = next((item.i for item in node.attribute if item.name == "axis"), -1)
        over = helper.make_node("ReduceMax", [node.input[0], f"{name}/axis"], ["values"], keepdims=1)
    over.input[0] = f"{name}/number"
    over.name, over.output[:] = f"{name}/over", [f"{name}/any"]
    kept = _copy(node)
    kept.output[0] = f"{name}/value"
    nodes = [
        kept,
        helper.make_node("IsNaN", [node.input[0]], [f"{name}/is"]),
        helper.make_node("Cast", [f"{name}/is"], [f"{name}/number"], to=TensorProto.FLOAT),
        over,
        _constant(f"{name}/half", 0.5),
        helper.make_node("Greater", [f"{name}/any", f"{name}/half"], [f"{name}/where"]),
        _constant(f"{name}/single", float("nan")),
        helper.make_node("CastLike", [f"{name}/single", f"{name}/value"], [f"{name}/nan"]),
        helper.make_node("Where", [f"{name}/where", f"{name}/nan", f"{name}/value"], [node.output[0]]),
    ]
    if node.op_type == "TopK":
        axes = helper.make_tensor("axis", TensorProto.INT64, [1], [axis])
        nodes.insert(0, helper.make_node("Constant", [], [f"{name}/axis"], value=axes))
    return nodes


def _constant(name: str, value: float) -> NodeProto:
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [], [value])
    return helper.make_node("Constant", [], [name], value=tensor)


def _copy(node: NodeProto) -> NodeProto:
    new = NodeProto()
    new.CopyFrom(node)
    return new
