"""Squeezes in ONNX as PyTorch computes them: an axis that is longer than 1 stays.

ONNX's Squeeze refuses it, and the exporter writes one for every axis that is named.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import onnxscript
import torch

__all__ = ["TRANSLATIONS"]

op: Any = onnxscript.opset18


def _squeeze_dim(self: Any, dim: int) -> Any:
    return _squeeze_dims(self, (dim,))


def _squeeze_dims(self: Any, dim: Sequence[int]) -> Any:
    """Without the axes of these that are known to be longer; one of any size is taken to be 1, as in the capture."""
    sizes = list(self.shape or ())
    axes = [axis for axis in dim if sizes and (not isinstance(sizes[axis], int) or sizes[axis] == 1)]
    return op.Squeeze(self, op.Constant(value_ints=axes)) if axes else op.Identity(self)


TRANSLATIONS: Mapping[Any, Callable[..., Any]] = MappingProxyType(
    {torch.ops.aten.squeeze.dim: _squeeze_dim, torch.ops.aten.squeeze.dims: _squeeze_dims}
)
"""For `torch.onnx.export`."""
