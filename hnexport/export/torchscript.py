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
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.fx.node import map_aggregate

from hnexport.errors import CaptureError, ExportError
from hnexport.export.capture import Capture, tracer_warnings_as_errors
from hnexport.export.torchscript_ensemble import ensemble_source

__all__ = ["write_torchscript"]


def write_torchscript(capture: Capture, path: Path) -> None:
    """Write the captured ensemble as a TorchScript module with `forward` and `ensemble`.

    Raises:
        CaptureError: the halves cannot be captured together.
        ExportError: the graph cannot be scripted.
    """
    try:
        with torch.no_grad(), tracer_warnings_as_errors():
            scripted = _script(capture.joint)
            scripted.define(ensemble_source(capture.ensemble.signature))
            scripted.save(str(path))
    except CaptureError:
        raise
    except Exception as error:
        raise ExportError(f"TorchScript export of {capture.ensemble.name} failed: {error}") from error


def _script(program: ExportedProgram) -> Any:
    """The graph of a program as TorchScript, without the hooks that hold its symbolic-shape guards."""
    unlifted = program.module(check_guards=False)
    module = GraphModule(unlifted, unlifted.graph)
    module._forward_pre_hooks.clear()
    module.graph.set_codegen(CodeGen())  # flat inputs and outputs
    for inner in [part for part in module.modules() if isinstance(part, GraphModule)]:
        for node in tuple(inner.graph.nodes):
            _rewrite(inner, node)
        inner.recompile()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The TorchScript type system doesn't support instance-level annotations")
        return torch.jit.script(module)


def _rewrite(module: GraphModule, node: Node) -> None:
    """Say what a node does in the words of TorchScript."""
    if isinstance(node.target, torch._ops.OpOverload):
        is_size = node.target is torch.ops.aten.sym_size.int
        node.target = torch.ops.aten.size if is_size else node.target.overloadpacket
        with module.graph.inserting_before(node):

            def literal(argument: Any) -> Any:  # `nan` is no name there, float('nan') is a call
                special = isinstance(argument, float) and not math.isfinite(argument)
                return module.graph.call_function(float, (str(argument),)) if special else argument

            node.args = map_aggregate(node.args, literal)
            node.kwargs = map_aggregate(node.kwargs, literal)
    if node.op == "output" and isinstance(node.args[0], tuple | list):
        leaves = tuple(leaf for leaf in node.args[0] if leaf is not None)
        node.args = (leaves[0] if len(leaves) == 1 else leaves,)
