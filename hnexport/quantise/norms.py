"""Batch norms of a network that predicts are a factor and a sum: both are made once, of a member's weights.

Behind a convolution that nothing else reads they go into its kernel and bias. Where only convolutions read what they
give, they become a convolution of each channel by itself with a kernel of one number, which can compute in int8 as
others do: between two integer convolutions that is one pass over integers in the place of four over floats (a
WRN-28-10 takes 0.84 of the time at batch 32). Elsewhere they become Mul and Add, which runtimes compute in any memory
format: onnxruntime would turn activations back and forth around a BatchNormalization (4 to 7 % of a WRN-28-10).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hnexport.parity.trace.onnx_graph import reads
from hnexport.quantise.initializers import constant

__all__ = ["as_factor", "fold_norms"]


def fold_norms(
    network: onnx.ModelProto, maker: onnx.ModelProto, reached: set[str], axes: Mapping[str, int]
) -> dict[str, str]:
    """Leave no batch norm whose statistics no input decides.

    Args:
        reached: what depends on an input.
        axes: how many axes a kernel has, by its name.

    Returns:
        The kernels of those that became convolutions of their own, and of each what people call its norm: its weight.
    """
    graph = network.graph
    uses = Counter(name for node in graph.node for name in reads(node))
    uses.update(item.name for item in graph.output)
    makers = {node.output[0]: node for node in graph.node}
    inferred = onnx.shape_inference.infer_shapes(network).graph
    known = {
        item.name: [size.dim_value for size in item.type.tensor_type.shape.dim]
        for item in (*inferred.value_info, *inferred.input)
    }
    convolutions = {}
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
            shape = known[norm.input[0]]
            own = _as_convolution(graph, maker.graph, norm, shape)
            if len(shape) > 2 and shape[1] and _is_for_convolutions(graph, norm.output[0], reached):
                convolutions[own.input[1]] = norm.input[1]
            else:
                as_factor(graph, own)
    return convolutions


def _into_convolution(maker: onnx.GraphProto, conv: onnx.NodeProto, norm: onnx.NodeProto, axes: int) -> None:
    name, bias = norm.output[0], conv.input[2] if len(conv.input) > 2 and conv.input[2] else None
    factor, shift = _factor(maker, norm), _shift(maker, norm, bias)
    column = _shaped(maker, factor, f"{name}/column", [-1] + [1] * (axes - 1))
    maker.node.append(helper.make_node("Mul", [conv.input[1], column], [f"{name}/kernel"]))
    conv.input[1:] = [f"{name}/kernel", shift]
    conv.output[0] = name


def _is_for_convolutions(graph: onnx.GraphProto, value: str, reached: set[str]) -> bool:
    """Whether a value, behind its ReLU where there is one, is read by convolutions alone, with kernels of weights."""
    outputs = {item.name for item in graph.output}
    readers = [node for node in graph.node if value in reads(node)]
    if len(readers) == 1 and readers[0].op_type == "Relu" and value not in outputs:
        value = readers[0].output[0]
        readers = [node for node in graph.node if value in reads(node)]
    convolutions = all(
        node.op_type == "Conv" and node.input[0] == value and reached.isdisjoint(node.input[1:]) for node in readers
    )
    return bool(readers) and convolutions and value not in outputs


def _as_convolution(
    graph: onnx.GraphProto, maker: onnx.GraphProto, norm: onnx.NodeProto, shape: Sequence[int]
) -> onnx.NodeProto:
    name, column = norm.output[0], [-1] + [1] * (len(shape) - 1)
    factors = _shaped(maker, _factor(maker, norm), f"{name}/factors", column)
    inputs = [norm.input[0], factors, _shift(maker, norm, None)]
    place = list(graph.node).index(norm)
    graph.node.remove(norm)
    sizes = [1] * (len(shape) - 2)
    graph.node.insert(place, helper.make_node("Conv", inputs, [name], group=shape[1], kernel_shape=sizes))
    made: onnx.NodeProto = graph.node[place]
    return made


def as_factor(graph: onnx.GraphProto, conv: onnx.NodeProto) -> None:
    """A norm that is a convolution becomes a Mul and an Add; loaders reshape their constants once."""
    axes = next(len(item.ints) for item in conv.attribute if item.name == "kernel_shape")
    name, place, (given, *both) = conv.output[0], list(graph.node).index(conv), conv.input
    graph.node.remove(conv)
    row, rows = numpy_helper.from_array(np.array([1, -1] + [1] * axes)), [f"{name}/factors/row", f"{name}/shift/row"]
    for at, node in enumerate(
        (
            helper.make_node("Constant", [], [f"{name}/row"], value=row),
            helper.make_node("Reshape", [both[0], f"{name}/row"], [rows[0]]),
            helper.make_node("Reshape", [both[1], f"{name}/row"], [rows[1]]),
            helper.make_node("Mul", [given, rows[0]], [f"{name}/scaled"]),
            helper.make_node("Add", [f"{name}/scaled", rows[1]], [name]),
        )
    ):
        graph.node.insert(place + at, node)


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
