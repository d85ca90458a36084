"""Convert `model.pt2` of a bundle to CoreML, with coremltools.

python convert.py BUNDLE TARGET.mlpackage

CoreML wants the parameters of batch and layer norms constant, has group norm for fixed batch sizes alone and no GRU, so
these are spelled out in simpler operations first.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.export import ExportedProgram

aten = torch.ops.aten


def batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, *options: Any
) -> Tensor:
    """`aten.batch_norm` of inference; the third of its options is epsilon."""
    sizes = [-1] + [1] * (x.dim() - 2)
    factor = (variance + options[2]).rsqrt()
    factor = factor if weight is None else weight * factor
    offset = -mean * factor if bias is None else bias - mean * factor
    return x * factor.view(sizes) + offset.view(sizes)


def core_batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same among the core operators; what only training needs is empty."""
    return batch_norm(x, weight, bias, mean, variance, False, momentum, eps), x.new_empty(0), x.new_empty(0)


def group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5, *_: bool
) -> Tensor:
    """`aten.group_norm`."""
    flat = x.reshape(x.shape[0], groups, -1)
    flat = flat - flat.mean(-1, keepdim=True)
    flat = flat * (flat.square().mean(-1, keepdim=True) + eps).rsqrt()
    normed, sizes = flat.reshape(x.shape), [1, -1] + [1] * (x.dim() - 2)
    normed = normed if weight is None else normed * weight.view(sizes)
    return normed if bias is None else normed + bias.view(sizes)


def layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5, *_: bool
) -> Tensor:
    """`aten.layer_norm`."""
    axes = list(range(-len(shape), 0))
    centred = x - x.mean(axes, keepdim=True)
    normed = centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def spelled_out(program: ExportedProgram) -> ExportedProgram:
    """The program in operations that CoreML has."""
    own = {
        aten.batch_norm.default: batch_norm,
        aten._native_batch_norm_legit_no_training.default: core_batch_norm,
        aten.group_norm.default: group_norm,
        aten.layer_norm.default: layer_norm,
    }
    return program.run_decompositions({**get_decompositions([aten.gru.input]), **own})  # type: ignore[misc] # mypy cannot infer it


if __name__ == "__main__":
    import coremltools

    bundle, target = sys.argv[1:]
    converted = coremltools.convert(
        spelled_out(torch.export.load(Path(bundle) / "model.pt2")),
        minimum_deployment_target=coremltools.target.iOS17,
    )
    converted.save(target)
