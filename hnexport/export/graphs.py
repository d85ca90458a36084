"""Small steps on ONNX graphs that the exporters share."""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as passes

__all__ = ["FLOATING", "add_node", "adopt_strays", "all_values", "make_initializer", "remove_unused", "source"]

FLOATING = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def add_node(
    graph: ir.Graph, op_type: str, inputs: Sequence[ir.Value], *, like: ir.Value, name: str | None = None, **kinds: Any
) -> ir.Value:
    """Append a node with one output, of shape and dtype as `like`; returns the output."""
    node = ir.node(op_type, list(inputs), kinds, name=name)
    output = node.outputs[0]
    output.shape, output.type, output.name = like.shape, like.type, name
    graph.append(node)
    return output


def all_values(graph: ir.Graph) -> list[ir.Value]:
    """Every value of a graph and of the graphs inside its nodes."""
    values = [*graph.inputs, *graph.initializers.values()]
    for inner in graph.subgraphs():
        values += [*inner.inputs, *inner.initializers.values()]
    return list(dict.fromkeys([*values, *(value for node in graph.all_nodes() for value in node.outputs)]))


def make_initializer(graph: ir.Graph, owner: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol) -> None:
    """Turn an input of `graph` into an initializer of `owner`: the graph itself, or one inside its nodes."""
    graph.inputs.remove(value)
    value.const_value = tensor
    owner.initializers[str(value.name)] = value


def adopt_strays(graph: ir.Graph) -> None:
    """Give constants that nodes use and no graph holds back to the graph.

    The exporter calls the bounds of a clamp after the tensor that is clamped: of a tensor that is clamped twice, the
    second pair takes the first one's names, and its place.
    """
    for node in graph.all_nodes():
        for value in node.inputs:
            if value is None or value.producer() is not None or value.const_value is None or value.is_initializer():
                continue
            taken, number, name = {str(one.name) for one in all_values(graph)}, 2, value.name
            while value.name in taken:
                value.name, number = f"{name}_{number}", number + 1
            graph.initializers[str(value.name)] = value


def source(value: ir.Value) -> ir.Value:
    """What is behind Identity nodes; an input has no producer."""
    node = value.producer()
    if node is None or node.op_type != "Identity" or node.inputs[0] is None:
        return value
    return source(node.inputs[0])


def remove_unused(model: ir.Model, kept: int) -> None:
    """Remove nodes, inputs and constants that reach no output; the first `kept` inputs stay."""
    for node in [node for node in model.graph if node.op_type == "Identity" and not node.outputs[0].is_graph_output()]:
        if node.inputs[0] is not None:
            node.outputs[0].replace_all_uses_with(node.inputs[0])
    passes.RemoveUnusedNodesPass()(model)
    for value in [value for value in model.graph.inputs[kept:] if not value.uses() and not value.is_graph_output()]:
        model.graph.inputs.remove(value)
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
