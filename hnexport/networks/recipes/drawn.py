"""Initial weights of a recipe's generator, from the module's own tensors and an explicit seed.

Shared tensors are the module's own. So are those of each member, and what is trained of them gets noise of half its own
spread (a tenth, where it has none: biases of zero), so that members differ. Generated tensors have the mean square of
the module's own, element by element where chunks are not shared, on average where they are: what initialised the
module, or trained it, sets the scale, as in "hyperfan-in" initialisation (Chang, Flokas & Lipson, ICLR 2020). With
biases, those of the last layers are the mean of the module's own tensors over the chunks.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hnexport.hypernet.bases import round_bases
from hnexport.hypernet.moments import activation_moment
from hnexport.hypernet.plan import ChunkPlan, InternalHypernet
from hnexport.hypernet.storage import GeneratorSpec, stored_tensors
from hnexport.spec import HypernetSpec, StoredKind, StoredTensor
from hnexport.spec.bases import unquantised

__all__ = ["drawn"]

_SPREAD, _WITHOUT_SPREAD = 0.5, 0.1


def drawn(spec: GeneratorSpec, own: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Every stored tensor: the same numbers for the same seed, module and version.

    Args:
        own: the module's tensors by slot; they are copied.
    """
    random = torch.Generator().manual_seed(seed)
    targets = {hypernet.name: _Target(hypernet, spec.plan, own) for hypernet in spec.plan.hypernets}
    table, tensors = stored_tensors(spec), {}
    for item in unquantised(table):
        if item.slot is not None:
            tensors[item.name] = _slot_tensor(item, own[item.slot].detach(), random)
        elif item.hypernet is not None and spec.hypernet is not None:
            tensors[item.name] = _hypernet_tensor(item, spec.hypernet, targets[item.hypernet], random)
    return round_bases(table, tensors)


class _Target:
    """What the module's own tensors say about the chunks of an internal hypernetwork.

    Attributes:
        chunk: `[chunk]`, how large a chunk is beside all of them.
        element: `[element]`, the root mean square of an element over the chunks.
        mean: `[element]`, its mean over the chunks.
    """

    def __init__(self, hypernet: InternalHypernet, plan: ChunkPlan, own: Mapping[str, Tensor]) -> None:
        values = torch.zeros(hypernet.chunks, hypernet.chunk_size)
        scales = torch.zeros(hypernet.chunks, hypernet.chunk_size)
        for name, assembly in plan.assembly.items():
            if assembly.pieces[0].hypernet != hypernet.name:
                continue
            tensor, axis = own[name].detach(), assembly.axis
            sizes = [piece.size if axis is None else piece.shape[axis] for piece in assembly.pieces]
            parts = torch.split(tensor.reshape(-1) if axis is None else tensor, sizes, dim=axis or 0)
            scale = float(tensor.square().mean().sqrt()) or _WITHOUT_SPREAD
            for piece, part in zip(assembly.pieces, parts, strict=True):
                place = (piece.chunk, slice(piece.offset, piece.offset + piece.size))
                values[place], scales[place] = part.reshape(-1), scale
        whole = scales.square().mean().sqrt()
        self.chunk = scales.square().mean(1).sqrt() / whole
        self.element = scales.square().mean(0).sqrt()
        self.mean = values.mean(0)


def _slot_tensor(item: StoredTensor, own: Tensor, random: torch.Generator) -> Tensor:
    if item.kind is StoredKind.SHARED:
        return own.clone().contiguous()
    members = own.expand(item.shape).clone()
    if not (item.trained and own.is_floating_point()):
        return members
    spread = float(own.std()) if own.numel() > 1 else 0.0
    noise = torch.randn(item.shape, generator=random, dtype=own.dtype)
    return members + noise * (_SPREAD * spread or _WITHOUT_SPREAD)


def _hypernet_tensor(item: StoredTensor, settings: HypernetSpec, target: _Target, random: torch.Generator) -> Tensor:
    match item.kind:
        case StoredKind.EMBEDDING:
            numbers = torch.randn(item.shape, generator=random)
            length = math.sqrt(item.shape[2])
            return torch.nn.functional.normalize(numbers, dim=2) * (length * target.chunk)[None, :, None]
        case StoredKind.HIDDEN | StoredKind.BASIS:
            first = (item.kind is StoredKind.BASIS and not settings.hidden_layers) or ".hidden1." in item.name
            moment = 1.0 if first else activation_moment(settings)
            scale = target.element if item.kind is StoredKind.BASIS else 1.0
            return torch.randn(item.shape, generator=random) * (scale / math.sqrt(item.shape[0] * moment))
        case StoredKind.BASIS_BIAS:
            return target.mean.clone()
        case _:
            return torch.zeros(item.shape)
