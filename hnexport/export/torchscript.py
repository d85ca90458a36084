"""TorchScript: the captured graph, traced. (`torch.jit` is deprecated in favour of `.pt2`; both are written.)"""

from pathlib import Path

import torch
from torch.fx import GraphModule

from hnexport.errors import ExportError
from hnexport.export.capture import Capture, example_inputs, tracer_warnings_as_errors

__all__ = ["write_torchscript"]


def write_torchscript(capture: Capture, path: Path) -> None:
    """Write the captured pipeline as a TorchScript module `forward(cond_id, image)`.

    `torch.jit.trace` refuses the pipeline itself (it calls `torch.func.functional_call`) but takes the graph that
    `torch.export` made of it, rebuilt without the hooks that hold its symbolic-shape guards.

    Raises:
        ExportError: the tracer refused the graph or warned.
    """
    try:
        exported = capture.program.module(check_guards=False)
        module = GraphModule(exported, exported.graph)
        module._forward_pre_hooks.clear()
        with torch.no_grad(), tracer_warnings_as_errors():
            traced = torch.jit.trace(module, example_inputs(capture.spec), check_trace=False)  # type: ignore[no-untyped-call]
            traced.save(str(path))
    except Exception as error:
        raise ExportError(f"TorchScript export of {capture.spec.name} failed: {error}") from error
