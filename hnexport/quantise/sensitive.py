"""How much each layer loses when it alone is rounded: its signal-to-noise ratio against float32, in decibels."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from hnexport.errors import TuneError
from hnexport.quantise.initializers import constant
from hnexport.quantise.layers import Layer
from hnexport.quantise.rounding import Rounded

__all__ = ["signal_to_noise"]

Array = NDArray[np.generic]

_MOST = 120.0  # decibels: nothing is lost


def signal_to_noise(
    plain: onnx.ModelProto,
    every: Rounded,
    layers: Sequence[Layer],
    values: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> dict[str, float]:
    """Of each layer, by its name: 10 log10 of |result|^2 over |error|^2, with what it takes still in float32.

    Of a batch norm's result what its channels are on average does not count: it is the rest that tells samples apart.

    Args:
        plain: the network with its weights; changed.
        every: the network with all of these layers in int8.
        values: the parameters of `every`.

    Raises:
        TuneError: onnxruntime cannot run it.
    """
    graph = plain.graph
    known = {tensor.name for tensor in graph.initializer}
    for name, value in values.items():
        if name not in known:
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, order="C"), name))
    originals = {node.output[0]: node for node in graph.node}
    axes = {node.input[0]: node for node in every.network.graph.node if node.op_type == "DequantizeLinear"}
    del graph.output[:]
    for layer in layers:
        _add_alone(graph, layer, originals, axes)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    names = [f"{layer.name}/alone/{part}" for layer in layers for part in ("signal", "noise")]
    try:
        session = onnxruntime.InferenceSession(plain.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = dict(zip(names, (float(one) for one in session.run(names, dict(inputs))), strict=True))
    except Exception as error:  # onnxruntime's exceptions have no common root
        raise TuneError(f"onnxruntime cannot measure the layers: {error}") from error
    return {
        layer.name: _decibels(*(found[f"{layer.name}/alone/{part}"] for part in ("signal", "noise")))
        for layer in layers
    }


def _add_alone(
    graph: onnx.GraphProto, layer: Layer, originals: Mapping[str, onnx.NodeProto], axes: Mapping[str, onnx.NodeProto]
) -> None:
    """The layer once more beside itself, in int8, and how far the two are apart."""
    prefix = f"{layer.name}/alone"
    node = onnx.NodeProto()
    node.CopyFrom(originals[layer.name])
    node.name = f"{prefix}/node"
    inputs = [_rounded(graph, layer.given, f"{prefix}/given", layer.given)]
    for part in ("weights", "bias")[: 1 + (layer.bias is not None)]:
        reading = axes[f"{layer.name}/int8/{part}"]
        copy = onnx.NodeProto()
        copy.CopyFrom(reading)
        copy.name, copy.output[0] = f"{prefix}/{part}", f"{prefix}/{part}"
        graph.node.append(copy)
        inputs.append(copy.output[0])
    del node.input[:]
    node.input.extend(inputs)
    node.output[0] = f"{prefix}/result"
    graph.node.append(node)
    result, original = node.output[0], layer.name
    if layer.end is not None:
        original = layer.end
        if layer.end != layer.name:
            graph.node.append(helper.make_node("Relu", [result], [f"{prefix}/positive"]))
            result = f"{prefix}/positive"
        result = _rounded(graph, result, f"{prefix}/end", layer.end)
    graph.node.append(helper.make_node("Sub", [result, original], [f"{prefix}/error"]))
    if layer.norm:  # what a channel always has says nothing
        axes_but_channels = constant(graph, f"{prefix}/axes", np.array([0, *range(2, layer.rank)]))
        graph.node.append(helper.make_node("ReduceMean", [original, axes_but_channels], [f"{prefix}/mean"]))
        graph.node.append(helper.make_node("Sub", [original, f"{prefix}/mean"], [f"{prefix}/told"]))
        original = f"{prefix}/told"
    for value, name in ((original, "signal"), (f"{prefix}/error", "noise")):  # squares leave what float32 holds
        wide = f"{prefix}/{name}/wide"
        graph.node.append(helper.make_node("Cast", [value], [wide], to=onnx.TensorProto.DOUBLE))
        graph.node.append(helper.make_node("ReduceSumSquare", [wide], [f"{prefix}/{name}"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(f"{prefix}/{name}", onnx.TensorProto.DOUBLE, []))


def _rounded(graph: onnx.GraphProto, value: str, name: str, activation: str) -> str:
    scales = [f"{activation}/uint8/scale", f"{activation}/uint8/zero"]
    graph.node.append(helper.make_node("QuantizeLinear", [value, *scales], [f"{name}/uint8"]))
    graph.node.append(helper.make_node("DequantizeLinear", [f"{name}/uint8", *scales], [f"{name}/rounded"]))
    return f"{name}/rounded"


def _decibels(signal: float, noise: float) -> float:
    if not (np.isfinite(signal) and np.isfinite(noise)):
        return -_MOST
    if noise <= 0.0 or signal <= 0.0:
        return _MOST if noise <= 0.0 else 0.0
    return min(_MOST, float(10 * np.log10(signal / noise)))
