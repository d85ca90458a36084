"""What float32 may lose inside a sum: of products in a convolution or a matrix product, or of what is averaged.

A plain loop over K terms in any order rounds K partial sums. Over all orders the squares of these are (K + 1) / 6 times
(Q + 2 S^2) in the mean, S being the sum and Q that of the squared terms; where roundings are independent, their sum is
off by the root of that times what one rounding is off by: by the root of (K + 1) / 2 more than a rounded result where
signs are random, which is the sqrt(K) of probabilistic error analysis (Higham and Mary, 2019). Kernels add many terms
at a time and lose less; but where there are few columns some fall back to the plain loop.

Equal terms, as an even image has, are rounded alike: a plain loop over thousands of them drifts by as many roundings.
Where the terms themselves are known (what is summed or averaged along whole axes) that loop is run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Sums"]

# Of what a plain loop loses. An artifact may be off by `NOISE_MULTIPLE` (4) times the noise: twice what it loses.
_SHARE = 0.5

_PRODUCTS = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "baddbmm": 1, "addmv": 1}  # where the first factor is
_ALONG = ("sum", "mean", "cumsum")  # along whole axes
_MOST_TERMS = 2**24
_LANES = 4  # a sum along an axis is that of so many loops side by side, on the narrowest processor
_UNIT = 2.0**-24
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
        elif name == "cumsum":
            terms = args[0].shape[args[1]]
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
        torch.maximum(squares, result.abs(), out=squares)
        drift = self._drift(result.shape)
        return squares if drift is None else torch.maximum(squares, drift, out=squares)

    def _drift(self, shape: torch.Size) -> Tensor | None:
        """What a plain loop over these very terms loses, as `sizes` says it; None where it is not known."""
        name = self.func.overloadpacket.__name__
        values = self.args[0]
        if name not in _ALONG or not 0 < values.numel() <= _MOST_TERMS or not values.dim():
            return None
        given = self.args[1] if len(self.args) > 1 and self.args[1] is not None else ()
        axes = [given] if isinstance(given, int) else list(given) or list(range(values.dim()))
        terms = values.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes)).float().numpy()
        if name != "cumsum" and (whole := terms.shape[-1] // _LANES * _LANES):
            terms = terms[..., :whole].reshape(*terms.shape[:-1], -1, _LANES).swapaxes(-1, -2)
        loop = np.cumsum(terms, axis=-1, dtype=np.float32)
        lost = torch.from_numpy(loop - np.cumsum(terms, axis=-1, dtype=np.float64)).abs_()
        if name == "cumsum":
            lost = lost.movedim(-1, axes[0])
        else:
            lost = lost[..., -1]
            lost = lost if lost.dim() == values.dim() - len(axes) else lost.sum(-1)
        return lost.reshape(shape).mul(_SHARE * sqrt(3) / _UNIT / (self.terms if self.averaged else 1))
