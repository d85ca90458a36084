"""Rewrites of the exported graph, with standard operators only: cheaper to run, or taken by more runtimes.

The mean over height and width becomes GlobalAveragePool, which runtimes compute in their own blocked formats. A batch
norm whose parameters are computed becomes a Mul and an Add.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

__all__ = ["pool_globally", "spell_out_norms"]


def pool_globally(graph: ir.Graph) -> None:
    """Replace means over the last two of four axes, kept, by GlobalAveragePool."""
    for node in [node for node in graph if node.op_type == "ReduceMean"]:
        pooled, axes = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
        if pooled is None or pooled.shape is None or axes is None or axes.const_value is None:
            continue
        rank, keepdims = len(pooled.shape), node.attributes.get("keepdims")
        spatial = {int(axis) % rank for axis in axes.const_value.numpy()} == {2, 3}
        if rank == 4 and spatial and (keepdims is None or keepdims.as_int() == 1):
            pool = ir.node("GlobalAveragePool", [pooled], metadata_props=dict(node.metadata_props))
            output = node.outputs[0]
            pool.outputs[0].type, pool.outputs[0].shape = output.type, output.shape
            graph.insert_before(node, pool)
            for use in tuple(output.uses()):
                use.node.replace_input_with(use.idx, pool.outputs[0])
            graph.remove(node, safe=True)


def spell_out_norms(graph: ir.Graph) -> None:
    """Replace each BatchNormalization whose parameters are computed by a Mul and an Add, as onnxruntime computes it.

    tract takes constants alone. One over initializers stays, so that runtimes fold it into the layer beside it.
    """
    for node in [node for node in graph if node.op_type == "BatchNormalization"]:
        x, *parameters = node.inputs
        if len(node.outputs) > 1 or x is None or x.shape is None or any(value is None for value in parameters):
            continue
        given = [value for value in parameters if value is not None]
        if all(value.producer() is None for value in given):
            continue
        scale, shift, mean, variance = given
        steps = _Before(graph=graph, node=node)
        deviation = steps.op("Sqrt", [steps.op("Add", [variance, steps.epsilon(variance)], variance)], variance)
        factor = steps.op("Div", [scale, deviation], scale)
        offset = steps.op("Sub", [shift, steps.op("Mul", [mean, factor], mean)], shift)
        factor, offset = (steps.spread(value, len(x.shape) - 2) for value in (factor, offset))
        output = node.outputs[0]
        normed = steps.op("Add", [steps.op("Mul", [x, factor], output), offset], output)
        output.replace_all_uses_with(normed, replace_graph_outputs=True)
        graph.remove(node, safe=True)


@dataclass(frozen=True, kw_only=True)
class _Before:
    """Puts nodes before another one, in its place among the modules."""

    graph: ir.Graph
    node: ir.Node

    def op(self, op_type: str, inputs: Sequence[ir.Value], like: ir.Value) -> ir.Value:
        """A node whose output has the dtype and shape of `like`."""
        made = ir.node(op_type, list(inputs), name=f"{str(self.node.name).rpartition('/')[0]}/{op_type}")
        made.outputs[0].type, made.outputs[0].shape = like.type, like.shape
        self.graph.insert_before(self.node, made)
        return made.outputs[0]

    def epsilon(self, like: ir.Value) -> ir.Value:
        """The number that is added to the variance, in its dtype."""
        attribute = self.node.attributes.get("epsilon")
        number = 1e-5 if attribute is None else attribute.as_float()  # 1e-5: ONNX's default
        dtype = ir.DataType.FLOAT if like.dtype is None else like.dtype
        return self._constant(f"norms/epsilon/{number}/{dtype.name}", ir.tensor(np.array(number, dtype.numpy())))

    def spread(self, value: ir.Value, axes: int) -> ir.Value:
        """A tensor of the channels with further axes of size 1."""
        if axes < 1:
            return value
        numbers = self._constant(f"norms/axes/{axes}", ir.tensor([*range(1, 1 + axes)], dtype=ir.DataType.INT64))
        sizes = [None] if value.shape is None else list(value.shape)
        like = ir.Value(type=value.type, shape=ir.Shape([*sizes, *[1] * axes]))
        return self.op("Unsqueeze", [value, numbers], like)

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        if name in self.graph.initializers:
            return self.graph.initializers[name]
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()))
        value.const_value = tensor
        self.graph.initializers[name] = value
        return value
