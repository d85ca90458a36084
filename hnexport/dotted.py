"""Tensors of a module by their dotted names: those of its state dict, and buffers that are not in it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["OverTensors", "is_same", "named_tensors", "register"]


def register(module: nn.Module, name: str, tensor: Tensor, *, trained: bool) -> None:
    """Store a tensor under a dotted name, as a parameter (floating-point and trained) or a buffer, without a copy."""
    owner = module
    *path, leaf = name.split(".")
    for part in path:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner._modules[part]  # type: ignore[assignment]
    if trained and tensor.is_floating_point():
        owner.register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
    else:
        owner.register_buffer(leaf, tensor)


def named_tensors(module: nn.Module) -> Mapping[str, Tensor]:
    """Every parameter and buffer under each of its names; tied ones have several."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(module.named_buffers(remove_duplicate=False))}


def is_same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal bit for bit, in dtype and shape too."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    one, other = (tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (first, second))
    return torch.equal(one, other)


class OverTensors(nn.Module):
    """A generator over other tensors, taken as they are, under the same names."""

    def __init__(self, generator: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._inner = (generator,)  # in a tuple: not a submodule
        for name, tensor in tensors.items():
            register(self, name, tensor, trained=False)

    def forward(self, cond_id: Tensor, **conditions: Tensor) -> dict[str, Tensor]:
        """`cond_id`: int64 scalar, beside the conditions by name; returns every slot's tensor."""
        tensors = dict(self.named_buffers())
        return functional_call(self._inner[0], tensors, (cond_id,), conditions)  # type: ignore[no-any-return]
