"""TorchScript: the captured graph, traced. (`torch.jit` is deprecated in favour of `.pt2`; both are written.)

Besides `forward(cond_id, image)` the module has `ensemble(cond_ids, image)`, which calls it for each member and returns
what `ensemble.onnx` returns, see `hnexport.export.ensemble`. It holds no weights of its own.
"""

from pathlib import Path

import torch
from torch.fx import GraphModule

from hnexport.errors import ExportError
from hnexport.export.capture import Capture, example_inputs, tracer_warnings_as_errors

__all__ = ["ENSEMBLE_SOURCE", "write_torchscript"]

# 1.17549435e-38 is the smallest normal float32: below it a probability's logarithm does not matter.
ENSEMBLE_SOURCE = """
def ensemble(self, cond_ids: Tensor, image: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    logits: List[Tensor] = []
    for member in range(cond_ids.size(0)):
        logits.append(self.forward(cond_ids[member], image))
    member_logits = torch.stack(logits)
    log_p = torch.log_softmax(member_logits, -1)
    p = log_p.exp()
    q = p.mean(0)
    log_q = torch.log(torch.where(q > 1.17549435e-38, q, torch.full_like(q, 1.17549435e-38)))
    predictive_entropy = -(q * log_q).sum(-1)
    mutual_information = (p * (log_p - log_q)).sum(-1).mean(0).clamp(min=0.0)
    return member_logits, q, predictive_entropy, mutual_information
"""


def write_torchscript(capture: Capture, path: Path) -> None:
    """Write the captured pipeline as a TorchScript module with `forward` and `ensemble`.

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
            traced.define(ENSEMBLE_SOURCE)
            traced.save(str(path))
    except Exception as error:
        raise ExportError(f"TorchScript export of {capture.spec.name} failed: {error}") from error
