"""Which tensors can be stored, exported and compared: dense numbers of the dtypes that a bundle holds."""

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from hnexport.errors import SpecError
from hnexport.spec import TensorSpec

__all__ = ["check_dense", "dtype_name", "is_same_closely"]


def check_dense(where: str, tensor: Tensor) -> None:
    """Refuse what has no elements of its own to store.

    Raises:
        SpecError: the tensor is lazy, on the meta device, sparse, quantised or nested.
    """
    if is_lazy(tensor):
        raise SpecError(f"{where} is not initialised yet: call the module once, its shape comes from the first input")
    if tensor.is_meta:
        raise SpecError(f"{where} is on the meta device, without elements: load the weights first")
    if tensor.is_quantized:
        raise SpecError(f"{where} is quantised: give the module with floating-point weights")
    if tensor.is_nested or tensor.layout is not torch.strided:
        raise SpecError(f"{where} is {'nested' if tensor.is_nested else tensor.layout}: make it dense (`to_dense()`)")


def dtype_name(where: str, tensor: Tensor) -> str:
    """The name of a dtype, as numpy and PyTorch have it.

    Raises:
        SpecError: no bundle holds tensors of this dtype.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        TensorSpec(name=where, dtype=name, shape=())
    except SpecError:
        remedy = "split it into real and imaginary part" if tensor.is_complex() else "cast it to float32"
        raise SpecError(f"{where} is {name}, which no bundle holds: {remedy}") from None
    if tensor.dtype is torch.bfloat16:
        raise SpecError(f"{where} is bfloat16, which numpy does not have: cast it to float32 (`float()`)")
    return name


def is_same_closely(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether two floating-point tensors agree, by relative L2; non-finite numbers are not judged."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if not expected.is_floating_point() or expected.numel() == 0:
        return True
    one, other = found.detach().double(), expected.detach().double()
    if not (one.isfinite().all() and other.isfinite().all()):
        return bool((one.isfinite() == other.isfinite()).all())
    return bool((one - other).norm() <= tolerance * other.norm() + 1e-30)
