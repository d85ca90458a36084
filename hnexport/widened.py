"""A network in float64 whatever dtype it writes down: `x.float()`, `torch.zeros(3)` and plain tensors too."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Widened"]


class Widened(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, what would be float32 is float64: what operators take, are asked for, and give."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        args, kwargs = pytree.tree_map(_wide, (args, dict(kwargs or {})))
        return pytree.tree_map(_wide, func(*args, **kwargs))


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype is torch.float32 else value
    return torch.float64 if value is torch.float32 else value
