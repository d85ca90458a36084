"""Bases in the dtype in which they are stored: rounded to float16 once, never silently by much.

Rounding a number to float16 changes it by at most 2^-11 of itself as long as it is normal there, between 2^-14 and
65504. Below that it has fewer digits, above it becomes infinite. So a basis may be rounded if none of its numbers is
above, and if the few that are below do not matter: the whole basis must not change by more than 2^-11 in relative L2.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.spec import StoredKind, StoredTensor

__all__ = ["LARGEST_ROUNDING", "basis_rounding", "round_bases"]

LARGEST_ROUNDING = 2.0**-11
"""The largest relative rounding error of a normal float16 number."""


def round_bases(stored: Iterable[StoredTensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with the bases in the dtype that `stored` says; all others as they are.

    From float16 to float32 nothing is rounded, and a basis that has the dtype already is not copied.

    Raises:
        CheckpointError: a basis does not fit float16: a number would overflow, or most are too small for it.
    """
    rounded = dict(tensors)
    for basis in _bases(stored):
        rounded[basis.name] = tensors[basis.name].to(getattr(torch, basis.dtype))
        _check(basis.name, tensors[basis.name], rounded[basis.name])
    return rounded


def basis_rounding(stored: Iterable[StoredTensor], exact: Mapping[str, Tensor], rounded: Mapping[str, Tensor]) -> float:
    """The largest relative L2 difference of a basis in `rounded` from the same in `exact`; 0 without bases."""
    return max((_relative_l2(exact[basis.name], rounded[basis.name]) for basis in _bases(stored)), default=0.0)


def _bases(stored: Iterable[StoredTensor]) -> list[StoredTensor]:
    return [tensor for tensor in stored if tensor.kind is StoredKind.BASIS]


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


def _relative_l2(exact: Tensor, rounded: Tensor) -> float:
    """|rounded - exact| / |exact|, summed in float64; 0 for a tensor of zeros."""
    difference = torch.linalg.vector_norm(rounded.to(exact.dtype) - exact, dtype=torch.float64)
    norm = torch.linalg.vector_norm(exact, dtype=torch.float64)
    return float(difference / norm) if norm else 0.0
