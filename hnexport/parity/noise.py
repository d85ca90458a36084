"""What float32 arithmetic may lose on an input, whatever the order of its operations: Monte Carlo arithmetic.

The float64 reference is run again with every number multiplied by 1 + 2^-24 u, u in [-1, 1]: weights, inputs and
constants where they enter, and the result of every operation (Parker, Monte Carlo Arithmetic, 1997). How far the
outputs move is what rounding to float32 costs on that input. An artifact cannot be asked for less. Sums of many terms
move by more, as partial sums are rounded too; see `hnexport.parity.sums`.

As in float32, equal numbers are rounded alike: u is a function of the number, so that the pixels of an even image move
together. What float32 holds exactly (whole numbers) and what only moves numbers is not rounded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from hnexport.ensemble import Ensemble
from hnexport.parity.double import run_double
from hnexport.parity.sums import Sums
from hnexport.programs.widened import Widened
from hnexport.rows import LARGEST_NOISE, NOISE_MULTIPLE, flat_rows, relative_l2
from hnexport.spec import OutputSpec

__all__ = ["MOST_DRAWS", "NOISE_SECONDS", "Rounded", "draws_within", "measure_noise"]

Array = NDArray[np.generic]

MOST_DRAWS = 5
NOISE_SECONDS = 2.0
"""About what all draws of a build may take, by an estimate that is the same on every machine; one is always made."""

_UNIT = 2.0**-24
_HALF = 2.0**-11
_TINIEST = 2.0**-126  # float32 below it: some kernels flush it to zero
_SMALL = 2.0**-60
_LARGE, _TILE = 2**22, 2**20
_CHOICES = 4  # draws of outputs that are not floating-point, for one of the others
_MOST_LUCK = 4.0
_OVERHEAD = 4.0  # a draw's time over that of the reference alone, for small networks

# Operations that move or select numbers, which no arithmetic rounds.
# fmt: off
_MOVING = frozenset(
    {
        "cat", "clone", "stack", "relu", "threshold", "max_pool2d_with_indices",
        "max_pool2d_with_indices_backward", "index_select", "gather", "index", "embedding", "copy", "where",
        "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "max", "min", "amax", "amin", "neg", "abs",
        "sign", "detach", "constant_pad_nd", "slice_scatter", "select_scatter", "flip", "roll", "sort",
        "topk", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "reflection_pad1d",
        "reflection_pad2d", "replication_pad1d", "replication_pad2d", "repeat", "zeros", "ones", "full",
        "arange", "empty", "empty_like", "zeros_like", "ones_like", "full_like", "scalar_tensor",
        "lift_fresh", "fill", "zero", "masked_fill", "tril", "triu", "adaptive_max_pool2d", "round",
        "floor", "ceil", "trunc", "new_zeros", "new_ones", "new_full", "masked_select", "scatter",
        "index_put", "one_hot", "cummax", "cummin", "hardtanh", "set", "permute_copy", "bernoulli", "eye",
    }
)
# fmt: on


class Rounded(Widened):  # type: ignore[no-untyped-call]
    """One draw.

    Args:
        times: by how much more is rounded than float32 does.
        alike: whether equal numbers are rounded alike. Kernels sum equal columns in different orders, so that a choice
            among equal numbers may fall on any.
    """

    def __init__(self, seed: int, *, times: float = 1.0, alike: bool = True) -> None:
        super().__init__()
        self._times, self._alike = times, alike
        self._random = np.random.default_rng(seed)
        self._entered: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not isinstance(func, torch._ops.OpOverload):  # `torch.cond`: what its branches compute is not rounded
            return super().__torch_dispatch__(func, types, args, kwargs)
        narrow = (kwargs or {}).get("dtype") in (torch.float16, torch.bfloat16)
        if not func._schema.is_mutable:
            args, kwargs = pytree.tree_map(self._entering, (args, kwargs or {}))
        result = super().__torch_dispatch__(func, types, args, kwargs)
        name = func.overloadpacket.__name__.rstrip("_")
        moves = name in _MOVING or (name == "_to_copy" and not narrow)
        aliases = any(item.alias_info is not None for item in func._schema.returns)
        if moves or (aliases and not func._schema.is_mutable):
            return pytree.tree_map_only(Tensor, _marked, result)
        unit, sums = self._times * (_HALF if narrow else _UNIT), Sums.of(func, args, kwargs or {}, result)
        return pytree.tree_map_only(Tensor, lambda tensor: _marked(self._rounded(tensor, unit, sums)), result)

    def _entering(self, value: Any) -> Any:
        """A weight, an input or a constant where it is first used; what the draw computed stays as it is."""
        if isinstance(value, float):
            exact = not np.isfinite(value) or float(np.float32(value)) == value
            return value if exact else value * (1 + _UNIT * self._random.uniform(-1.0, 1.0))
        if not isinstance(value, Tensor) or not value.is_floating_point() or hasattr(value, "_drawn"):
            return value
        if id(value) not in self._entered:
            wide = value.double()
            new = wide.clone() if wide is value else wide
            self._entered[id(value)] = (value, _marked(self._rounded(new, _UNIT)))
        return self._entered[id(value)][1]

    def _rounded(self, tensor: Tensor, unit: float, sums: Sums | None = None) -> Tensor:
        """The tensor, changed in place."""
        if tensor.dtype != torch.float64 or not tensor.numel() or _is_whole(tensor):
            return tensor
        if tensor.numel() > _LARGE or not self._alike:
            return self._scaled(tensor, unit * (1.0 if sums is None else sums.multiple))
        # Equal numbers of one tensor move together, those of two tensors do not: x / 255 may be equal to a mean.
        shares = tensor.float().view(torch.int32).mul(self._factor()).double().mul_(2.0**-31)
        least, most = tensor.aminmax()
        is_small = max(abs(float(least)), abs(float(most))) < _SMALL
        tiny = shares * _TINIEST if is_small else None
        if sums is None:
            tensor.mul_(shares.mul_(unit).add_(1.0))
        else:
            tensor.addcmul_(shares, sums.sizes(tensor), value=unit)
        return tensor if tiny is None else tensor.add_(tiny)

    def _scaled(self, tensor: Tensor, unit: float) -> Tensor:
        """A tensor of many numbers, with the same shares again and again: quick, and few weights are equal."""
        flat = tensor.view(-1) if tensor.is_contiguous() else tensor.reshape(-1)
        shares = torch.from_numpy(self._random.uniform(1.0 - unit, 1.0 + unit, min(_TILE, len(flat))))
        for start in range(0, len(flat), _TILE):
            part = flat[start : start + _TILE]
            part.mul_(shares[: len(part)])
        return flat.view(tensor.shape)

    def _factor(self) -> int:
        return 2 * int(self._random.integers(2**28, 2**30)) + 1


def _marked(tensor: Tensor) -> Tensor:
    tensor._drawn = True  # type: ignore[attr-defined]
    return tensor


def _is_whole(tensor: Tensor) -> bool:
    """Whether all are whole numbers that float32 holds."""
    first = float(tensor[(0,) * tensor.dim()])
    return first.is_integer() and bool((tensor == tensor.round()).all()) and float(tensor.abs().max()) <= 2.0**24


def draws_within(members: int, seconds: float) -> tuple[int, int]:
    """How many members are measured and how often each, where one run of the reference takes so many seconds."""
    able = max(1, int(NOISE_SECONDS / (_OVERHEAD * seconds)))
    measured = min(members, max(1, able // MOST_DRAWS))
    return measured, min(MOST_DRAWS, max(1, able // measured))


def measure_noise(
    ensemble: Ensemble,
    members: Sequence[int],
    inputs: Mapping[str, Array],
    known: Mapping[str, NDArray[np.generic]],
    seconds: float,
    chosen: Mapping[str, NDArray[np.bool_]],
) -> dict[str, NDArray[np.float64]]:
    """For each output `[member, row]`: the root mean square over the draws of each row's relative L2 distance, and as
    much more as it may be where few numbers show it.

    Of an output that is not floating-point it is the largest share of a row's elements that a draw changed. Members
    that are not measured get the largest of each row over those that are.

    Args:
        ensemble: in float64.
        known: its outputs by name, `[member, …]`.
        seconds: about what one run of it takes.
        chosen: of each output that is not floating-point, whether float32 eager chose otherwise, `[member, row]`.
    """
    measured, draws = draws_within(len(members), seconds)
    rows = sorted({round(i * (len(members) - 1) / max(measured - 1, 1)) for i in range(measured)})
    outputs = ensemble.signature.outputs
    found = {
        output.name: np.zeros((len(rows), draws, len(flat_rows(output, known[output.name][0])))) for output in outputs
    }
    for position, row in enumerate(rows):
        for draw in range(draws):
            with np.errstate(all="ignore"):
                one = run_double(ensemble, members[row], inputs, Rounded(1000 * draw + members[row]))
                for output in outputs:
                    found[output.name][position, draw] = _moved(output, one[output.name], known[output.name][row])
    settled = {name: array for name, array in known.items() if name in chosen}
    others = _unsettled(
        ensemble, [members[row] for row in rows], inputs, {n: a[rows] for n, a in settled.items()}, draws
    )
    noise = {}
    for output in outputs:
        each = found[output.name]
        few = _by_luck(draws * known[output.name][0].size // max(each.shape[2], 1))
        summed = few * np.sqrt(np.mean(each**2, axis=1)) if output.is_floating else each.max(axis=1)
        summed = np.minimum(np.nan_to_num(summed, nan=LARGEST_NOISE), LARGEST_NOISE)
        noise[output.name] = np.repeat(summed.max(axis=0)[None], len(members), axis=0)
        noise[output.name][rows] = summed
        if output.name in others:
            noise[output.name][rows] = np.maximum(noise[output.name][rows], others[output.name])
        if output.name in chosen:
            noise[output.name] = np.maximum(noise[output.name], chosen[output.name])
    return noise


def _by_luck(numbers: int) -> float:
    """By how much more a size may be that so many numbers show: a root mean square of few may be small by luck.

    About Student's t at 0.9995 over its limit for many numbers: 2.1 for 5, 1.4 for 10, 1.1 for 50.
    """
    return min(1.0 + 5.0 / max(numbers, 1), _MOST_LUCK)


def _unsettled(
    ensemble: Ensemble,
    members: Sequence[int],
    inputs: Mapping[str, Array],
    known: Mapping[str, Array],
    draws: int,
) -> dict[str, NDArray[np.float64]]:
    """Of outputs that are not floating-point `[member, row]`: the largest share of a row's elements that changed in
    draws in which every number is rounded by itself, and as many times as much as a row may be off by.

    Args:
        known: of those outputs alone, `[member, …]`.
        draws: how often floating-point outputs are drawn; here `_CHOICES` times as often.
    """
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in known}
    for position, member in enumerate(members if known else ()):
        worst: dict[str, NDArray[np.float64]] = {}
        for draw in range(_CHOICES * draws):
            mode = Rounded(1000 * draw + member + 500, times=NOISE_MULTIPLE, alike=False)
            with np.errstate(all="ignore"):
                one = run_double(ensemble, member, inputs, mode)
            for output in (output for output in ensemble.signature.outputs if output.name in known):
                moved = _moved(output, one[output.name], known[output.name][position])
                worst[output.name] = np.maximum(moved, worst.get(output.name, 0.0))
        for name, value in worst.items():
            found[name].append(value)
    return {name: np.stack(values) for name, values in found.items()}


def _moved(output: OutputSpec, found: Array, known: Array) -> NDArray[np.float64]:
    rows = [flat_rows(output, array) for array in (found, known)]
    if not output.is_floating:
        return np.asarray((rows[0] != rows[1]).mean(axis=-1))
    return np.minimum(relative_l2(*rows), LARGEST_NOISE)
