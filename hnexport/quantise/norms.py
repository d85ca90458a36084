"""Batch norms of a network that predicts are a factor and a sum: both are made once, of a member's weights.

Behind a convolution that nothing else reads they go into its kernel and bias. Elsewhere they become Mul and Add, which
runtimes compute in any layout: onnxruntime would turn activations back and forth around a BatchNormalization between
two integer convolutions (4 to 7 % of a WRN-28-10).
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from hnexport.parity.trace.onnx_graph import reads
from hnexport.quantise.initializers import constant

__all__ = ["fold_norms"]


def fold_norms(network: onnx.ModelProto, maker: onnx.ModelProto, reached: set[str], axes: Mapping[str, int]) -> None:
    """Leave no batch norm whose statistics no input decides.

    Args:
        reached: what depends on an input.
        axes: how many axes a kernel has, by its name.
    """
    graph = network.graph
    uses = Counter(name for node in graph.node for name in reads(node))
    uses.update(item.name for item in graph.output)
    makers = {node.output[0]: node for node in graph.node}
    inferred = onnx.shape_inference.infer_shapes(network).graph
    known = {item.name: len(item.type.tensor_type.shape.dim) for item in (*inferred.value_info, *inferred.input)}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        training = any(item.name == "training_mode" and item.i for item in norm.attribute)
        if training or reached.intersection(norm.input[1:]):
            continue
        conv = makers.get(norm.input[0])
        alone = conv is not None and conv.op_type == "Conv" and uses[norm.input[0]] == 1
        if conv is not None and alone and conv.input[1] in axes and not reached.intersection(conv.input[1:]):
            _into_convolution(maker.graph, conv, norm, axes[conv.input[1]])
            graph.node.remove(norm)
        elif norm.input[0] in known:
            _as_factor(graph, maker.graph, norm, known[norm.input[0]])


def _into_convolution(maker: onnx.GraphProto, conv: onnx.NodeProto, norm: onnx.NodeProto, axes: int) -> None:
    name, bias = norm.output[0], conv.input[2] if len(conv.input) > 2 and conv.input[2] else None
    factor, shift = _factor(maker, norm), _shift(maker, norm, bias)
    column = _shaped(maker, factor, f"{name}/column", [-1] + [1] * (axes - 1))
    maker.node.append(helper.make_node("Mul", [conv.input[1], column], [f"{name}/kernel"]))
    conv.input[1:] = [f"{name}/kernel", shift]
    conv.output[0] = name


def _as_factor(graph: onnx.GraphProto, maker: onnx.GraphProto, norm: onnx.NodeProto, axes: int) -> None:
    name, row = norm.output[0], [1, -1] + [1] * (axes - 2)
    factor = _shaped(maker, _factor(maker, norm), f"{name}/factors", row)
    shift = _shaped(maker, _shift(maker, norm, None), f"{name}/shifts", row)
    place = list(graph.node).index(norm)
    given = norm.input[0]
    graph.node.remove(norm)
    graph.node.insert(place, helper.make_node("Mul", [given, factor], [f"{name}/scaled"]))
    graph.node.insert(place + 1, helper.make_node("Add", [f"{name}/scaled", shift], [name]))


def _shaped(maker: onnx.GraphProto, value: str, name: str, shape: list[int]) -> str:
    maker.node.append(helper.make_node("Reshape", [value, constant(maker, f"{name}/shape", np.array(shape))], [name]))
    return name


def _factor(maker: onnx.GraphProto, norm: onnx.NodeProto) -> str:
    """The weight over the standard deviation."""
    name, weight, variance = norm.output[0], norm.input[1], norm.input[4]
    said = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
    epsilon = constant(maker, f"{name}/epsilon", np.float32(said))
    maker.node.append(helper.make_node("Add", [variance, epsilon], [f"{name}/wide"]))
    maker.node.append(helper.make_node("Sqrt", [f"{name}/wide"], [f"{name}/std"]))
    maker.node.append(helper.make_node("Div", [weight, f"{name}/std"], [f"{name}/factor"]))
    return f"{name}/factor"


def _shift(maker: onnx.GraphProto, norm: onnx.NodeProto, bias: str | None) -> str:
    """What is added behind the factor: to a bias before it, where there is one."""
    name, added, mean = norm.output[0], norm.input[2], norm.input[3]
    moved = (
        helper.make_node("Sub", [bias, mean], [f"{name}/moved"])
        if bias
        else helper.make_node("Neg", [mean], [f"{name}/moved"])
    )
    maker.node.append(moved)
    maker.node.append(helper.make_node("Mul", [f"{name}/moved", f"{name}/factor"], [f"{name}/product"]))
    maker.node.append(helper.make_node("Add", [f"{name}/product", added], [f"{name}/shift"]))
    return f"{name}/shift"
