"""What the exporter makes anew in every call, made once for a test process: its tables, and many small objects."""

import functools
import gc
import logging
from typing import Any

import torch._export.utils
import torch.export.decomp_utils
import torch.export.exported_program
from torch.onnx._constants import ONNX_DEFAULT_OPSET
from torch.onnx._internal.exporter._registration import ONNXRegistry

__all__ = ["share_operators", "share_registry", "spare_collections", "warm_registry"]


def share_registry() -> None:
    """Let the exporter copy its table from now on: it takes half a second, and a build exports twice."""
    make, made = ONNXRegistry.from_torchlib, {}

    def from_torchlib(*arguments: Any, **named: Any) -> ONNXRegistry:
        key = (arguments, tuple(named.items()))
        if key not in made:
            made[key] = make(*arguments, **named)
        registry = ONNXRegistry()
        registry._opset_version = made[key].opset_version
        registry.functions = {target: list(found) for target, found in made[key].functions.items()}
        return registry

    setattr(ONNXRegistry, "from_torchlib", staticmethod(from_torchlib))  # noqa: B010 - to mypy it is a method


def share_operators() -> None:
    """Let the exporter list PyTorch's composite operators once: it asks four times a build, and no test adds one."""
    listed = functools.cache(torch._export.utils._collect_all_valid_cia_ops)
    for module in (torch._export.utils, torch.export.decomp_utils, torch.export.exported_program):
        module._collect_all_valid_cia_ops = listed  # type: ignore[attr-defined] # what a test or a tool reaches for there


def spare_collections() -> None:
    """Look for garbage rarely, and never again in the libraries that stay: a tenth of a build is spent on that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def warm_registry() -> None:
    """Make the table now, in a process that forks; of torchvision's functions nothing is said."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    ONNXRegistry().from_torchlib(opset_version=ONNX_DEFAULT_OPSET)
    logger.setLevel(before)
