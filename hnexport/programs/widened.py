"""A network in float64 whatever dtype it writes down: `x.float()`, `torch.zeros(3)` and plain tensors too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Widened"]

_NARROWER = (torch.float32, torch.float16, torch.bfloat16)


class Widened(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, what would be narrower is float64: what operators take, are asked for, and give.

    Branches of `torch.cond` are run as they are, on what is widened.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        args, kwargs = pytree.tree_map(_wide, (args, kwargs or {}))
        return pytree.tree_map(_wide, func(*args, **kwargs))


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype in _NARROWER else value
    return torch.float64 if isinstance(value, torch.dtype) and value in _NARROWER else value
