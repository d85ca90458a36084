"""Which nodes of a network can compute with int8, and by which axis of their weights they have scales."""

from collections import Counter
from dataclasses import dataclass

import onnx

from hnexport.names import SHARED_PREFIX
from hnexport.parity.trace.onnx_graph import reads
from hnexport.quantise.parts import Parts

__all__ = ["Layer", "ends", "layers"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution or a product with weights, or a batch norm between convolutions.

    Attributes:
        name: what it computes, by its name in the graph.
        title: what people call it: the slot of its weights.
        kind: "Conv", "Gemm" or "MatMul".
        given: the value that it takes.
        weights: those weights.
        bias: None where it has none.
        axis: of the weights, that has a scale for each of its places: of the output channels.
        rank: how many axes the weights have.
        norm: whether it is a batch norm, as a convolution of each channel by itself.
        end: where its result is rounded: behind the ReLU where there is one. None where it stays float32.
    """

    name: str
    title: str
    kind: str
    given: str
    weights: str
    bias: str | None
    axis: int
    rank: int
    norm: bool
    end: str | None


def layers(parts: Parts) -> tuple[Layer, ...]:
    """The layers of a network in the order of their calls: those whose weights no input decides."""
    graph = parts.network.graph
    fixed = {*parts.parameters, *(tensor.name for tensor in graph.initializer)}
    shapes = _shapes(parts)
    found = []
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        given, weights, *rest = node.input
        bias = rest[0] if rest and rest[0] else None
        shape = shapes.get(weights, [])
        axis = _axis(node, len(shape))
        if given in fixed or weights not in fixed or axis is None:
            continue
        if bias is not None and (bias not in fixed or shapes.get(bias) != [shape[axis]]):  # Gemm takes other shapes too
            continue
        found.append(
            Layer(
                name=node.output[0],
                title=parts.norms.get(weights, parts.slots.get(weights, weights)).removeprefix(SHARED_PREFIX),
                kind=node.op_type,
                given=given,
                weights=weights,
                bias=bias,
                axis=axis,
                rank=len(shape),
                norm=weights in parts.norms,
                end=ends(graph, node.output[0]) if node.op_type == "Conv" else None,
            )
        )
    return tuple(found)


def ends(graph: onnx.GraphProto, value: str) -> str | None:
    """Behind the ReLU that alone reads a value, otherwise the value; None for an output of the graph."""
    uses = Counter(name for node in graph.node for name in reads(node))
    outputs = {item.name for item in graph.output}
    if value in outputs:
        return None
    relu = next((node for node in graph.node if node.op_type == "Relu" and node.input[0] == value), None)
    if relu is None or uses[value] != 1:
        return value
    return None if relu.output[0] in outputs else relu.output[0]


def _axis(node: onnx.NodeProto, rank: int) -> int | None:
    """The axis of the output channels of a node's weights; None where it cannot be computed in int8."""
    said = {item.name: item for item in node.attribute}
    if node.op_type == "Conv":
        return 0 if rank >= 3 else None
    if rank != 2:
        return None
    if node.op_type == "MatMul":
        return 1
    plain = all(said[name].f == 1.0 for name in ("alpha", "beta") if name in said)
    if not plain or ("transA" in said and said["transA"].i):
        return None
    return 0 if "transB" in said and said["transB"].i else 1


def _shapes(parts: Parts) -> dict[str, list[int]]:
    """Of fixed values in float32, where their number of axes is known; 0 is a size that is not."""
    held = (tensor for tensor in parts.network.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    shapes = {tensor.name: list(tensor.dims) for tensor in held}
    inferred = onnx.shape_inference.infer_shapes(parts.maker)
    for item in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        kind = item.type.tensor_type
        if kind.HasField("shape") and kind.elem_type == onnx.TensorProto.FLOAT:
            shapes[item.name] = [size.dim_value for size in kind.shape.dim]
    return shapes
