"""PyTorch's table of ONNX functions, made once for a test process: the exporter makes it anew in every call."""

import logging
from typing import Any

from torch.onnx._constants import ONNX_DEFAULT_OPSET
from torch.onnx._internal.exporter._registration import ONNXRegistry

__all__ = ["share_registry", "warm_registry"]


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

    ONNXRegistry.from_torchlib = staticmethod(from_torchlib)


def warm_registry() -> None:
    """Make the table now, in a process that forks; of torchvision's functions nothing is said."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    ONNXRegistry().from_torchlib(opset_version=ONNX_DEFAULT_OPSET)
    logger.setLevel(before)
