"""Rewrites of the exported graph that make it cheaper to run, with standard operators only.

The mean over height and width becomes GlobalAveragePool, which runtimes compute in their own blocked layouts.
"""

import onnx_ir as ir

__all__ = ["pool_globally"]


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
