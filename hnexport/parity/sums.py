"""What float32 may lose inside a sum: of products in a convolution or a matrix product, or of what is averaged.

A plain loop over K terms in any order rounds K partial sums. Over all orders the squares of these are (K + 1) / 6 times
(Q + 2 S^2) in the mean, S being the sum and Q that of the squared terms; where roundings are independent, their sum is
off by the root of that times what one rounding is off by: by the root of (K + 1) / 2 more than a rounded result where
signs are random, which is the sqrt(K) of probabilistic error analysis (Higham and Mary, 2019). Kernels add many terms
at a time and lose less; but where there are few columns some fall back to the plain loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Sums"]

# Of what a plain loop loses. An artifact may be off by `NOISE_MULTIPLE` (4) times the noise: twice what it loses.
_SHARE = 0.5

_PRODUCTS = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "baddbmm": 1, "addmv": 1}  # where the first factor is
_MEANS = ("mean", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """The sums that an operator computes.

    Attributes:
        terms: how many each has; it may have fewer at the borders of an image.
    """

    terms: int
    func: Any = field(repr=False)
    args: tuple[Any, ...] = field(repr=False)
    kwargs: Mapping[str, Any] = field(repr=False)
    averaged: bool = False

    @classmethod
    def of(cls, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Self | None:
        """The sums of a call; None where there are none, or what they were of is overwritten."""
        name = func.overloadpacket.__name__
        if func._schema.is_mutable or not isinstance(result, Tensor) or not result.numel():
            return None
        if not all(one.is_floating_point() for one in args if isinstance(one, Tensor)):
            return None
        if name == "convolution":
            transposed, groups = args[6], args[8]
            terms = len(args[1]) // groups * prod(args[1].shape[2:]) if transposed else args[1][0].numel()
        elif name in _PRODUCTS:
            terms = args[_PRODUCTS[name]].shape[-1]
        elif name == "sum" or name in _MEANS:
            kernel = args[1] if name.startswith("avg_pool") else ()
            terms = prod(kernel) if len(kernel) > 1 else args[0].numel() // result.numel()
        else:
            return None
        return cls(terms=max(terms, 1), func=func, args=args, kwargs=kwargs, averaged=name in _MEANS)

    @property
    def multiple(self) -> float:
        """By how much more a sum is off than a rounded result, where signs are random."""
        return max(1.0, _SHARE * sqrt((self.terms + 1) / 2))

    def sizes(self, result: Tensor) -> Tensor:
        """For each sum the size of the number that would lose as much in one rounding.

        Args:
            result: the sums, float64.
        """
        args = pytree.tree_map_only(Tensor, torch.square, self.args)
        scalars = {name: one**2 if type(one) in (int, float) else one for name, one in self.kwargs.items()}
        squares = self.func(*args, **scalars)
        if self.averaged:
            squares /= self.terms
        squares.addcmul_(result, result, value=2.0).mul_(_SHARE**2 * (self.terms + 1) / 6).sqrt_()
        return torch.maximum(squares, result.abs(), out=squares)
