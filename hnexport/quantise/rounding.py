"""Put int8 into a network: QuantizeLinear and DequantizeLinear around its layers, and the rounding into its maker.

Weights are symmetric int8 with a scale for each output channel, activations uint8 with one scale and zero point for
each tensor and member, biases int32. Runtimes fuse what lies between two QuantizeLinear into one integer convolution.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hnexport.export.external_data import refer
from hnexport.names import COND_ID, SUPPLIED_FILE
from hnexport.parity.trace.onnx_graph import keep_ancestors, reads
from hnexport.quantise.initializers import constant
from hnexport.quantise.layers import Layer
from hnexport.quantise.norms import as_factor
from hnexport.quantise.parts import Parts

__all__ = ["Ranges", "Rounded", "rounded", "tensors_to_round"]

Ranges = Mapping[str, NDArray[np.float64]]
"""Of each tensor `[member, 2]`: the smallest and the largest value that it is expected to have."""

_LARGEST_WEIGHT, _LEVELS = 127, 255
_SMALLEST_SCALE = np.float32(1e-12)  # of a channel without weights
_LARGEST_BIAS = np.float32(2.0**30)  # in units of its scale, an int32


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """A network in int8.

    Attributes:
        network: its nodes; parameters are initializers that the loader supplies.
        maker: from a member's id and its slots to `parameters`.
        parameters: by name, in order.
        activations: the tensors that are rounded to uint8; after each name the network has `/uint8`.
    """

    network: onnx.ModelProto = field(repr=False)
    maker: onnx.ModelProto = field(repr=False)
    parameters: tuple[str, ...]
    activations: tuple[str, ...]


def tensors_to_round(chosen: Sequence[Layer]) -> list[str]:
    """What layers take, and what convolutions give."""
    names = [name for layer in chosen for name in (layer.given, layer.end) if name is not None]
    return list(dict.fromkeys(names))


def rounded(parts: Parts, chosen: Sequence[Layer], ranges: Ranges) -> Rounded:
    """The network in which the chosen layers compute in int8.

    Args:
        ranges: of every tensor of `tensors_to_round(chosen)`, with a row for each member.
    """
    network, maker = onnx.ModelProto(), onnx.ModelProto()
    network.CopyFrom(parts.network)
    maker.CopyFrom(parts.maker)
    weights = {layer.weights for layer in chosen}
    for node in [node for node in network.graph.node if node.op_type == "Conv" and node.input[1] in parts.norms]:
        if node.input[1] not in weights:
            as_factor(network.graph, node)
    names = tensors_to_round(chosen)
    _select_scales(maker.graph, names, ranges)
    ends = {layer.end for layer in chosen}
    for name in names:
        readers = None if name in ends else {layer.name for layer in chosen if layer.given == name}
        _round_activation(network.graph, name, readers)
    parameters = [f"{name}/uint8/{part}" for name in names for part in ("scale", "zero")]
    for layer in chosen:
        parameters += _round_weights(network.graph, maker.graph, layer)
    read = {name for node in network.graph.node for name in node.input}
    parameters += [name for name in parts.parameters if name in read]
    _finish(network, maker, parameters, read)
    return Rounded(network=network, maker=maker, parameters=tuple(parameters), activations=tuple(names))


def _select_scales(maker: onnx.GraphProto, names: Sequence[str], ranges: Ranges) -> None:
    """In the maker: scale and zero point of every activation, of one member, from a table of all."""
    maker.input.append(helper.make_tensor_value_info(COND_ID, TensorProto.INT64, []))
    for name in names:
        low = np.minimum(ranges[name][:, 0], 0.0)
        high = np.maximum(ranges[name][:, 1], 0.0)
        scale = np.maximum((high - low) / _LEVELS, float(_SMALLEST_SCALE)).astype(np.float32)
        zero = np.clip(np.rint(-low / scale), 0, _LEVELS).astype(np.uint8)
        for part, values in (("scale", scale), ("zero", zero)):
            table = constant(maker, f"{name}/uint8/{part}s", values)
            maker.node.append(helper.make_node("Gather", [table, COND_ID], [f"{name}/uint8/{part}"], axis=0))


def _round_activation(graph: onnx.GraphProto, name: str, readers: Collection[str] | None) -> None:
    """Let nodes read a value after rounding.

    A ReLU before that goes: the zero point of what it gives is 0, below which nothing is left after rounding. That is
    what lets a runtime make one integer convolution of it.

    Args:
        readers: the nodes, by what they give; None for all.
    """
    scales = [f"{name}/uint8/scale", f"{name}/uint8/zero"]
    for node in graph.node:
        if readers is None or not set(readers).isdisjoint(node.output):
            node.input[:] = [f"{name}/rounded" if given == name else given for given in node.input]
    place = next((at for at, node in enumerate(graph.node) if name in node.output), -1)
    taken = name
    used = {item.name for item in graph.output}.union(*(reads(node) for node in graph.node))
    if place >= 0 and graph.node[place].op_type == "Relu" and name not in used:
        taken = graph.node[place].input[0]
        del graph.node[place]
        place -= 1
    graph.node.insert(place + 1, helper.make_node("QuantizeLinear", [taken, *scales], [f"{name}/uint8"]))
    graph.node.insert(place + 2, helper.make_node("DequantizeLinear", [f"{name}/uint8", *scales], [f"{name}/rounded"]))


def _round_weights(network: onnx.GraphProto, maker: onnx.GraphProto, layer: Layer) -> list[str]:
    """Weights and bias of one layer; the names of its parameters."""
    name, given = layer.name, f"{layer.given}/uint8/scale"
    parts = {part: f"{name}/int8/{part}" for part in ("weights", "scale_w", "zero_w", "bias", "scale_b")}
    axes = constant(
        maker, f"{name}/int8/axes", np.array([at for at in range(layer.rank) if at != layer.axis], np.int64)
    )
    _scale_of_weights(maker, layer, given, axes, parts["scale_w"])
    zero = parts["zero_w"]
    maker.node.append(
        helper.make_node("Mul", [parts["scale_w"], constant(maker, "int8/0", np.float32(0))], [f"{zero}/f"])
    )
    maker.node.append(helper.make_node("Cast", [f"{zero}/f"], [zero], to=TensorProto.INT8))
    maker.node.append(
        helper.make_node("QuantizeLinear", [layer.weights, parts["scale_w"], zero], [parts["weights"]], axis=layer.axis)
    )
    node = next(node for node in network.node if name in node.output)
    inputs = [node.input[0], f"{name}/int8/weights/rounded"]
    made = [
        helper.make_node(
            "DequantizeLinear",
            [parts["weights"], parts["scale_w"], zero],
            [f"{name}/int8/weights/rounded"],
            axis=layer.axis,
        )
    ]
    parameters = [parts["weights"], parts["scale_w"], zero]
    if layer.bias is not None:
        _round_bias(maker, layer.bias, given, parts)
        made.append(
            helper.make_node(
                "DequantizeLinear", [parts["bias"], parts["scale_b"]], [f"{name}/int8/bias/rounded"], axis=0
            )
        )
        inputs.append(f"{name}/int8/bias/rounded")
        parameters += [parts["bias"], parts["scale_b"]]
    node.input[:] = inputs
    place = list(network.node).index(node)
    for new in reversed(made):
        network.node.insert(place, new)
    return parameters


def _scale_of_weights(maker: onnx.GraphProto, layer: Layer, given: str, axes: str, scale: str) -> None:
    """The largest weight of a channel is 127; where its bias would leave int32, the scale is as large as that takes."""
    most = constant(maker, "int8/127", np.float32(_LARGEST_WEIGHT))
    least = constant(maker, "int8/least", _SMALLEST_SCALE)
    maker.node.append(helper.make_node("Abs", [layer.weights], [f"{scale}/abs"]))
    maker.node.append(helper.make_node("ReduceMax", [f"{scale}/abs", axes], [f"{scale}/max"], keepdims=0))
    maker.node.append(helper.make_node("Div", [f"{scale}/max", most], [f"{scale}/own"]))
    bounds = [f"{scale}/own", least]
    if layer.bias is not None:
        units = constant(maker, "int8/bias", _LARGEST_BIAS)
        maker.node.append(helper.make_node("Abs", [layer.bias], [f"{scale}/bias"]))
        maker.node.append(helper.make_node("Div", [f"{scale}/bias", given], [f"{scale}/share"]))
        maker.node.append(helper.make_node("Div", [f"{scale}/share", units], [f"{scale}/bound"]))
        bounds.append(f"{scale}/bound")
    maker.node.append(helper.make_node("Max", bounds, [scale]))


def _round_bias(maker: onnx.GraphProto, values: str, given: str, parts: Mapping[str, str]) -> None:
    bias = parts["bias"]
    maker.node.extend(
        [
            helper.make_node("Mul", [parts["scale_w"], given], [parts["scale_b"]]),
            helper.make_node("Div", [values, parts["scale_b"]], [f"{bias}/units"]),
            helper.make_node("Round", [f"{bias}/units"], [f"{bias}/whole"]),
            helper.make_node("Cast", [f"{bias}/whole"], [bias], to=TensorProto.INT32),
        ]
    )


def _finish(network: onnx.ModelProto, maker: onnx.ModelProto, parameters: Sequence[str], read: Collection[str]) -> None:
    """Outputs of the maker, and the network's initializers that the loader supplies."""
    del maker.graph.output[:]
    maker.graph.output.extend(onnx.ValueInfoProto(name=name) for name in parameters)
    keep_ancestors(maker, parameters)
    inferred = onnx.shape_inference.infer_shapes(maker, strict_mode=True, data_prop=True)
    given = {item.name: item for item in maker.graph.input}  # slots that are parameters as they are
    del maker.graph.output[:]
    maker.graph.output.extend(given.get(item.name, item) for item in inferred.graph.output)
    left = [tensor for tensor in network.graph.initializer if tensor.name in read]
    del network.graph.initializer[:]
    network.graph.initializer.extend(left)
    offset = 0
    for item in maker.graph.output:
        shape = [size.dim_value for size in item.type.tensor_type.shape.dim]
        tensor = TensorProto(name=item.name, data_type=item.type.tensor_type.elem_type, dims=shape)
        length = int(np.prod(shape)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        refer(tensor, SUPPLIED_FILE, (offset, length))
        offset += length
        network.graph.initializer.append(tensor)
