"""Bases in the form in which they are stored: rounded to it once, never silently by much.

Rounding a number to float16 changes it by at most 2^-11 of itself as long as it is normal there, between 2^-14 and
65504. Below that it has fewer digits, above it becomes infinite. So a basis may be rounded if none of its numbers is
above, and if the few that are below do not matter: the whole basis must not change by more than 2^-11 in relative L2.

Rounding to integers changes each number of a group by at most half of their scale, which is its largest number over
127, or 7. So a basis may be rounded if that, of groups in which all others are close to zero, is not exceeded: scales
are float16 too.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.hypernet.quantised import dequantised, quantised
from hnexport.spec import StoredTensor
from hnexport.spec.bases import bases_of, scales_name, scales_of

__all__ = ["LARGEST_ROUNDING", "basis_rounding", "plain_bases", "round_bases"]

LARGEST_ROUNDING = 2.0**-11
"""The largest relative rounding error of a normal float16 number."""
_BITS = {"int8": 8, "uint8": 4}


def round_bases(stored: Iterable[StoredTensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with the bases in the form that `stored` says, in its order; all others as they are.

    From float16 or integers to float32 nothing is rounded, and a basis that has its form already is not copied.

    Args:
        tensors: the bases in any form.

    Raises:
        CheckpointError: a basis does not fit: a number would overflow, or most are too small for it.
    """
    stored = tuple(stored)
    scales = scales_of(stored)
    of_bases = {name for basis in bases_of(stored) for name in (basis.name, scales_name(basis.name))}
    rounded = {name: tensor for name, tensor in tensors.items() if name not in of_bases}
    for basis in bases_of(stored):
        if basis.name not in scales:
            exact = _plain(basis.name, tensors)
            rounded[basis.name] = exact.to(getattr(torch, basis.dtype))
            _check(basis.name, exact, rounded[basis.name])
            continue
        held, pair = _pair(basis.name, tensors), (basis, scales[basis.name])
        if held is None or any(not _is_stored_as(*each) for each in zip(held, pair, strict=True)):
            exact = _plain(basis.name, tensors)
            held = quantised(exact, _BITS[basis.dtype], scales[basis.name].shape[1])
            _check_quantised(basis, exact, *held)
        rounded[basis.name], rounded[scales[basis.name].name] = held
    in_order = {item.name: rounded[item.name] for item in stored if item.name in rounded}
    return in_order | rounded


def plain_bases(stored: Iterable[StoredTensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The bases by name as floating-point numbers `[row, chunk]`, those of integers made one by one."""
    return {basis.name: _plain(basis.name, tensors) for basis in bases_of(stored)}


def basis_rounding(stored: Iterable[StoredTensor], exact: Mapping[str, Tensor], rounded: Mapping[str, Tensor]) -> float:
    """The largest relative L2 difference of a basis in `rounded` from the same in `exact`; 0 without bases."""
    names = [basis.name for basis in bases_of(stored)]
    return max((_relative_l2(_plain(name, exact), _plain(name, rounded)) for name in names), default=0.0)


def _pair(name: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    scales = tensors.get(scales_name(name))
    return None if scales is None else (tensors[name], scales)


def _is_stored_as(tensor: Tensor, item: StoredTensor) -> bool:
    return tuple(tensor.shape) == item.shape and tensor.dtype is getattr(torch, item.dtype)


def _plain(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    held = _pair(name, tensors)
    return tensors[name] if held is None else dequantised(*held)


def _check(name: str, exact: Tensor, rounded: Tensor) -> None:
    if rounded.dtype is not torch.float16 or exact.dtype is torch.float16:
        return
    overflow = torch.isinf(rounded) & torch.isfinite(exact)
    if overflow.any():
        index = tuple(overflow.nonzero()[0].tolist())
        raise CheckpointError(
            f"tensor {name!r}: {float(exact[index]):g} at {list(index)} does not fit float16, whose largest number is "
            "65504; keep the bases in float32"
        )
    loss = _relative_l2(exact, rounded)
    if loss > LARGEST_ROUNDING:
        largest = float(exact.abs().max())
        raise CheckpointError(
            f"tensor {name!r}: its numbers (the largest is {largest:.1e}) are too small for float16, which would "
            f"change it by {loss:.1%}; keep the bases in float32"
        )


def _check_quantised(basis: StoredTensor, exact: Tensor, integers: Tensor, scales: Tensor) -> None:
    largest = float(exact.abs().max()) if exact.numel() else 0.0
    what = f"tensor {basis.name!r}: its numbers (the largest is {largest:.1e}) are too"
    remedy = "keep the bases in float32"
    if torch.isinf(scales).any():
        raise CheckpointError(f"{what} large: their scales are float16, whose largest number is 65504; {remedy}")
    levels = 2 ** _BITS[basis.dtype] - 2
    loss = _relative_l2(exact, dequantised(integers, scales))
    if loss > math.sqrt(basis.shape[1] / scales.shape[1]) / levels:
        raise CheckpointError(f"{what} small: their scales are float16, which would change it by {loss:.1%}; {remedy}")


def _relative_l2(exact: Tensor, rounded: Tensor) -> float:
    """|rounded - exact| / |exact|, summed in float64; 0 for a tensor of zeros."""
    wide = torch.promote_types(exact.dtype, rounded.dtype)
    difference = torch.linalg.vector_norm(rounded.to(wide) - exact, dtype=torch.float64)
    norm = torch.linalg.vector_norm(exact, dtype=torch.float64)
    return float(difference / norm) if norm else 0.0
