"""Bases as integers and scales: rounded to them, and made of them again; see `hnexport.spec.bases`.

Scales are float16: an integer of 8 bits times a scale has at most 19 bits, so that float32 holds it exactly, and every
runtime makes the same basis.
"""

import torch
from torch import Tensor

__all__ = ["dequantised", "quantised"]

_SHRINKING = {8: (1.0,), 4: (1.0, 0.9, 0.8)}
"""Scales that are tried, beside that with which the largest number is just held: few numbers are as large as that."""


def dequantised(integers: Tensor, scales: Tensor) -> Tensor:
    """A basis, of integers and scales; in float64 where the scales are, else in float32.

    Args:
        integers: int8 `[…, row, chunk]`, or uint8 with two rows in each.
        scales: `[…, row, group]`.

    Returns:
        `[…, row, chunk]`.
    """
    dtype = torch.promote_types(scales.dtype, torch.float32)
    numbers = integers.to(dtype) if integers.dtype is torch.int8 else _unpacked(integers.to(dtype), scales.shape[-2])
    # Grouped between cast and product: OpenVINO 2026.4 takes these two, side by side before a MatMul, for weights that
    # are compressed along the other axis. It fails then, or computes other numbers.
    grouped = numbers.reshape(*numbers.shape[:-1], scales.shape[-1], -1)
    return (grouped * scales.to(dtype).unsqueeze(-1)).flatten(-2)


def _unpacked(pairs: Tensor, rows: int) -> Tensor:
    """Two numbers of each; in floating point, since OpenVINO 2026.4 takes constant bytes apart wrongly."""
    upper = torch.floor_divide(pairs, 16)
    halves = torch.cat((pairs - upper * 16, upper), dim=-2) - 8
    return halves if halves.shape[-2] == rows else halves.narrow(-2, 0, rows)


def quantised(basis: Tensor, bits: int, groups: int) -> tuple[Tensor, Tensor]:
    """Integers and scales of a basis `[row, chunk]`, each group's scale the best of those that are tried.

    Args:
        bits: 8, or 4.
        groups: of a row.
    """
    integers = torch.empty(basis.shape, dtype=torch.int8)
    scales = torch.empty((len(basis), groups), dtype=torch.float16)
    for row, values in enumerate(basis):  # one at a time: what is tried takes several times the memory of its numbers
        found, scale = _rounded(values.reshape(groups, -1).float(), bits)
        integers[row], scales[row] = found.reshape(-1), scale.reshape(-1)
    return (integers if bits == 8 else _packed(integers)), scales


def _packed(integers: Tensor) -> Tensor:
    half = -(-len(integers) // 2)
    raised = torch.zeros((2 * half, integers.shape[1]), dtype=torch.uint8)
    raised[: len(integers)] = (integers + 8).to(torch.uint8)
    return raised[:half] | (raised[half:] << 4)


def _rounded(values: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """`[group, size]` to integers and `[group, 1]` scales.

    The number of largest magnitude becomes the lowest integer, which goes one further than the highest; a scale may
    therefore be negative. What is tried next is the scale that suits the integers best, by least squares.
    """
    lowest = -(2 ** (bits - 1))
    extreme = values.gather(1, values.abs().argmax(1, keepdim=True))
    integers = scales = errors = None
    for shrinking in _SHRINKING[bits]:
        scale = (extreme * (shrinking / lowest)).half()
        for _ in range(2):
            whole = torch.nan_to_num(values / scale).round().clamp(lowest, -lowest - 1)
            error = (whole * scale - values).square().sum(1, keepdim=True)
            if integers is None or scales is None or errors is None:
                integers, scales, errors = whole, scale, error
            else:
                better = error < errors
                integers, scales = torch.where(better, whole, integers), torch.where(better, scale, scales)
                errors = torch.where(better, error, errors)
            fitting = (whole * values).sum(1, keepdim=True) / whole.square().sum(1, keepdim=True)
            scale = torch.nan_to_num(fitting).half()
    if integers is None or scales is None:
        raise ValueError(f"{bits} bits")
    return integers.to(torch.int8), scales
