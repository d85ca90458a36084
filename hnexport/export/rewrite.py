"""Rewrites of the exported graph that make it cheaper to run, with standard operators only.

- A joined basis is stored as the graph uses it, `[out_channel, embedding, row]` (see `hnexport.hypernet.layout`),
  instead of being turned at each run: the Reshape and Transpose of the capture vanish into the weights file.
- The mean over height and width becomes GlobalAveragePool, which runtimes compute in their own blocked layouts.
"""

from collections.abc import Mapping

import onnx_ir as ir
from torch import Tensor

from hnexport.errors import ExportError
from hnexport.hypernet.layout import JoinedBasis, joined_bases
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.spec import PipelineSpec

__all__ = ["laid_out", "lay_out_bases", "pool_globally"]


def laid_out(spec: PipelineSpec, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The stored tensors as the ONNX files hold them: joined bases by output channel, the others as they are."""
    permuted = dict(tensors)
    for name, joined in _bases(spec).items():
        permuted[name] = tensors[name].reshape(-1, joined.out_channels, joined.row).transpose(0, 1)
    return permuted


def lay_out_bases(spec: PipelineSpec, graph: ir.Graph, stored: Mapping[str, ir.Value]) -> None:
    """Let the graph take joined bases as `laid_out` gives them.

    Raises:
        ExportError: the exporter wrote them in another way than Reshape and Transpose.
    """
    for name, joined in _bases(spec).items():
        basis = stored[name]
        reshape = _only_user(basis, "Reshape")
        transpose = _only_user(reshape.outputs[0], "Transpose")
        turned = transpose.outputs[0]
        if tuple(transpose.attributes["perm"].as_ints()) != (1, 0, 2) or turned.shape is None:
            raise ExportError(f"{name}: expected the graph to exchange its first two axes")
        found = (joined.out_channels, *turned.shape.dims[1:-1], joined.row)
        if tuple(turned.shape.dims) != found:
            raise ExportError(
                f"{name}: expected [{joined.out_channels}, embedding, {joined.row}], found {turned.shape}"
            )
        basis.shape = turned.shape
        for use in tuple(turned.uses()):
            use.node.replace_input_with(use.idx, basis)
        graph.remove([reshape, transpose], safe=True)


def pool_globally(graph: ir.Graph) -> None:
    """Replace means over the last two of four axes, kept, by GlobalAveragePool."""
    for node in [node for node in graph if node.op_type == "ReduceMean"]:
        pooled, axes = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
        if pooled is None or pooled.shape is None or axes is None or axes.const_value is None:
            continue
        rank, keepdims = len(pooled.shape), node.attributes.get("keepdims")
        spatial = {int(axis) % rank for axis in axes.const_value.numpy()} == {2, 3}
        if rank == 4 and spatial and (keepdims is None or keepdims.as_int() == 1):
            pool = ir.node("GlobalAveragePool", [pooled])
            output = node.outputs[0]
            pool.outputs[0].type, pool.outputs[0].shape = output.type, output.shape
            graph.insert_before(node, pool)
            for use in tuple(output.uses()):
                use.node.replace_input_with(use.idx, pool.outputs[0])
            graph.remove(node, safe=True)


def _bases(spec: PipelineSpec) -> dict[str, JoinedBasis]:
    return {f"hypernet.{name}.basis": joined for name, joined in joined_bases(plan_chunks(spec)).items()}


def _only_user(value: ir.Value, op_type: str) -> ir.Node:
    users = [use.node for use in value.uses()]
    if len(users) != 1 or users[0].op_type != op_type:
        raise ExportError(
            f"{value.name}: expected {op_type} as its only user, found {[user.op_type for user in users]}"
        )
    return users[0]
