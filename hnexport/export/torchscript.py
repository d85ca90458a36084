"""TorchScript: the captured graph, scripted. (`torch.jit` is deprecated in favour of `.pt2`; both are written.)

A trace would bake in every size that the graph asks for; scripting keeps the questions. Besides
`forward(cond_id, *inputs)` the module has `ensemble(cond_ids, *inputs)`, which calls it for each member and returns
what `ensemble.onnx` returns, see `hnexport.export.torchscript_ensemble`. It holds no weights of its own.
"""

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.fx.node import map_aggregate

from hnexport.errors import CaptureError, ExportError
from hnexport.export.capture import Capture
from hnexport.export.torchscript_ensemble import ensemble_source
from hnexport.programs.tracing import exporters_warnings, has_torchscript, without_torchscript
from hnexport.spec import Signature
from hnexport.spelling import spelled

__all__ = ["save_scripted", "scripted", "write_torchscript"]


def write_torchscript(capture: Capture, path: Path) -> None:
    """Write the captured ensemble as a TorchScript module with `forward` and `ensemble`.

    Raises:
        CaptureError: the halves cannot be captured together.
        ExportError: the graph cannot be scripted.
    """
    try:
        save_scripted(capture.joint, capture.ensemble.signature, path)
    except CaptureError:
        raise
    except Exception as error:
        raise ExportError(
            f"TorchScript export of {capture.ensemble.name} failed, leave torchscript out of the formats: {error}"
        ) from error


def save_scripted(program: ExportedProgram, signature: Signature, path: Path) -> None:
    """Write a joint program as a TorchScript module with `forward` and `ensemble`."""
    with torch.no_grad(), exporters_warnings():
        module = scripted(program)
        module.define(ensemble_source(signature))
        module.save(str(path))


def scripted(program: ExportedProgram) -> Any:
    """The graph of a program as TorchScript, without the hooks that hold its symbolic-shape guards.

    Raises:
        CaptureError: the graph has what TorchScript lacks, or this PyTorch has no TorchScript.
    """
    without = spelled("Format.TORCHSCRIPT", "torchscript in --formats")
    if not has_torchscript():
        raise CaptureError(without_torchscript(f"build the bundle without {without}, and write members as .pt2"))
    unlifted = program.module(check_guards=False)
    module = GraphModule(unlifted, unlifted.graph)
    module._forward_pre_hooks.clear()
    module.graph.set_codegen(CodeGen())  # flat inputs and outputs
    while branches := [node for node in module.graph.nodes if node.target is torch.ops.higher_order.cond]:
        for node in branches:
            _compute_both(module, node)
    loops = [node.target for node in module.graph.nodes if isinstance(node.target, HigherOrderOperator)]
    if loops:
        raise CaptureError(f"TorchScript has no {loops[0].__name__}: build the bundle without {without}")
    for node in tuple(module.graph.nodes):
        _rewrite(module, node)
    module.delete_all_unused_submodules()
    module.recompile()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The TorchScript type system doesn't support instance-level annotations")
        return torch.jit.script(module)


def _compute_both(module: GraphModule, node: Node) -> None:
    """In the place of `torch.cond`, which TorchScript lacks: both branches, and the choice between their results."""
    given: Any = node.args
    chosen, *branches, operands = given
    graph, results = module.graph, []
    with graph.inserting_before(node):
        for branch in branches:
            inner: Any = module.get_submodule(branch.target)
            known = dict(zip(inner.graph.find_nodes(op="placeholder"), operands, strict=True))
            result: Any = graph.graph_copy(inner.graph, known)
            results.append(result)
            for original, copied in known.items():
                if original.op == "get_attr":
                    copied.target = f"{branch.target}.{copied.target}"
        picked = [graph.call_function(torch.where, (chosen, *pair)) for pair in zip(*results, strict=True)]
    for user in tuple(node.users):
        number: Any = user.args[1]
        user.replace_all_uses_with(picked[number])
        graph.erase_node(user)
    graph.erase_node(node)
    for branch in branches:
        if not branch.users:
            graph.erase_node(branch)


def _last_input(module: GraphModule) -> Node:
    """An input of the network, or the condition id where it has none."""
    last: Node = list(module.graph.find_nodes(op="placeholder"))[-1]
    return last


def _rewrite(module: GraphModule, node: Node) -> None:
    """Say what a node does in the words of TorchScript."""
    if node.target is torch.ops.aten._assert_tensor_metadata.default:  # a check of the capture, which has no result
        module.graph.erase_node(node)
        return
    if isinstance(node.target, torch._ops.OpOverload):
        is_size = node.target is torch.ops.aten.sym_size.int
        node.target = torch.ops.aten.size if is_size else node.target.overloadpacket
        with module.graph.inserting_before(node):

            def literal(argument: Any) -> Any:
                if isinstance(argument, torch.device):  # that of the capture; what is made belongs beside the inputs
                    return module.graph.call_function(getattr, (_last_input(module), "device"))
                if isinstance(argument, float) and not math.isfinite(argument):
                    return module.graph.call_function(float, (str(argument),))  # `nan` is no name there
                return argument

            node.args = map_aggregate(node.args, literal)
            node.kwargs = map_aggregate(node.kwargs, literal)
    if node.op == "output" and isinstance(node.args[0], tuple | list):
        leaves = tuple(leaf for leaf in node.args[0] if leaf is not None)
        node.args = (leaves[0] if len(leaves) == 1 else leaves,)
