"""torch.export: a bundle's `.pt2` under PyTorch."""

from pathlib import Path
from typing import Any

from runtimes.runtime import Run, Runtime


def load(path: Path) -> Run:
    """The exported program, which takes its inputs in order."""
    import torch

    module = torch.export.load(path).module()

    def run(*arrays: object) -> list[Any]:
        with torch.inference_mode():
            outputs = module(*map(torch.as_tensor, arrays))
            return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run


RUNTIME = Runtime(
    name="torch.export",
    file="model.pt2",
    plain="plain.pt2",
    version_of="torch",
    load=load,
)
