"""Random weights that give a network with sane activations, from an explicit seed.

Generated kernels have the variance that He initialisation gives to a kernel of the main network, 2 / fan_in (He et al.
2015, arXiv 1502.01852): the hypernetwork's last layer is scaled down for it as in "hyperfan-in" initialisation (Chang,
Flokas & Lipson, "Principled weight initialization for hypernetworks", ICLR 2020). Chunk embeddings are drawn from
N(0, 1), as hypnettorch does, and then brought to the expected length, so that the variance holds for every single
kernel and not only on average. (With hidden layers it holds on average over seeds, and where chunks of one basis serve
several fan-ins only for homogeneous activations.) Member-specific batch-norm scales are drawn from N(1, 0.5^2), as
BatchEnsemble's fast weights (Wen, Tran & Ba, ICLR 2020, arXiv 2002.06715).

Batch-norm statistics are the expected second moments of the activations under these weights and unit-variance images,
computed layer by layer without any data: every activation after a batch norm has about the second moment of that norm's
scales, which is 1 unless they are generated or belong to members.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hnexport.hypernet.bases import round_bases
from hnexport.hypernet.moments import activation_moment
from hnexport.hypernet.plan import ChunkPlan
from hnexport.networks.wide_resnet.chunking import Part, chunk_parts, plan_chunks
from hnexport.networks.wide_resnet.slots import NetworkSlot, Role, network_slots
from hnexport.networks.wide_resnet.spec import PipelineSpec, ShortcutInput
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import HypernetSpec, Source, StoredKind, StoredTensor
from hnexport.spec.bases import unquantised

__all__ = ["expected_norm_variances", "initialise"]

MEMBER_SCALE_STD = 0.5


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """What an internal hypernetwork generates.

    Attributes:
        fans: the fan-in of the layer that each of its chunks serves.
    """

    settings: HypernetSpec
    parts: tuple[Part, ...]
    fans: tuple[int, ...]


def initialise(spec: PipelineSpec, seed: int) -> dict[str, Tensor]:
    """Every stored tensor of a pipeline, drawn with `seed`: the same numbers for the same seed and version.

    They are drawn in float32; bases that are stored otherwise are rounded at the end.
    """
    random = torch.Generator().manual_seed(seed)
    variances = expected_norm_variances(spec)
    fans, parts = _fan_in(spec, plan_chunks(spec)), chunk_parts(spec)
    slots = {slot.name: slot for slot in network_slots(spec.network)}
    table, tensors = stored_tensors(spec), {}
    for stored in unquantised(table):
        if stored.slot is not None:
            tensors[stored.name] = _slot_tensor(stored, slots[stored.slot], variances, random)
        elif stored.hypernet is not None and spec.hypernet is not None:
            chunk = _Chunk(settings=spec.hypernet, parts=parts[stored.hypernet], fans=tuple(fans[stored.hypernet]))
            tensors[stored.name] = _hypernet_tensor(stored, chunk, random)
    return round_bases(table, tensors)


def expected_norm_variances(spec: PipelineSpec) -> dict[str, float]:
    """The second moment of each batch norm's input, by the name of its `running_var` slot.

    A He-initialised 3x3 convolution after batch norm (scale with second moment g) and ReLU gives activations of second
    moment g, and so does a preactivated shortcut; a raw one, which follows no ReLU, doubles; a residual block adds its
    branch (zero padding and the correlation of branch and shortcut are neglected). A network without batch norm has
    none.
    """
    if not spec.network.batch_norm:
        return {}
    gains = _scale_moments(spec)
    variances: dict[str, float] = {}
    stream = 2.0  # the input convolution sees unit-variance images, not rectified ones
    shortcuts = {slot.group for slot in network_slots(spec.network) if slot.role is Role.SHORTCUT}
    preactivated = spec.network.shortcut_input is ShortcutInput.PREACTIVATED
    for group in (1, 2, 3):
        for block in range(1, spec.network.blocks_per_group + 1):
            prefix = f"group{group}.block{block}"
            variances[f"{prefix}.norm1.running_var"] = stream
            variances[f"{prefix}.norm2.running_var"] = gains[f"{prefix}.norm1.weight"]
            skip = stream
            if block == 1 and group in shortcuts:
                skip = gains[f"{prefix}.norm1.weight"] if preactivated else 2.0 * stream
            stream = skip + gains[f"{prefix}.norm2.weight"]
    variances["norm.running_var"] = stream
    return variances


def _scale_moments(spec: PipelineSpec) -> dict[str, float]:
    """E[scale^2] of each batch norm, by the name of its scale's slot."""
    plan, parts = plan_chunks(spec), chunk_parts(spec)
    fans = _fan_in(spec, plan)
    moments = {}
    for slot in network_slots(spec.network):
        if slot.role is not Role.NORM_SCALE:
            continue
        moments[slot.name] = 1.0 + (MEMBER_SCALE_STD**2 if spec.recipe.norm is Source.MEMBER else 0.0)
        if spec.hypernet is not None and slot.name in plan.assembly:
            (piece,) = plan.assembly[slot.name].pieces
            (part,) = (part for part in parts[piece.hypernet] if part.offset == piece.offset)
            widest = max(fans[piece.hypernet])
            variance = _part_std(part, widest, spec.hypernet) ** 2 * widest / fans[piece.hypernet][piece.chunk]
            moments[slot.name] = variance + (1.0 if spec.hypernet.bias else 0.0)
    return moments


def _normal(shape: tuple[int, ...], std: float, random: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=random).mul_(std) if std else torch.zeros(shape)


def _slot_tensor(
    stored: StoredTensor, slot: NetworkSlot, variances: Mapping[str, float], random: torch.Generator
) -> Tensor:
    match slot.role:
        case Role.NORM_VARIANCE:
            return torch.full(stored.shape, variances[slot.name])
        case Role.NORM_SCALE:
            std = MEMBER_SCALE_STD if stored.kind is StoredKind.MEMBER else 0.0
            return 1.0 + _normal(stored.shape, std, random)
        case role:
            return _normal(stored.shape, _target_std(role, math.prod(slot.shape[1:])), random)


def _target_std(role: Role, fan_in: int) -> float:
    """The standard deviation that an entry of the main network should have."""
    if role in (Role.KERNEL, Role.SHORTCUT):
        return math.sqrt(2.0 / fan_in)
    if role is Role.OUTPUT_WEIGHT:
        return math.sqrt(1.0 / fan_in)
    return 1.0 if role is Role.NORM_SCALE else 0.0


def _hypernet_tensor(stored: StoredTensor, chunk: _Chunk, random: torch.Generator) -> Tensor:
    settings, widest = chunk.settings, max(chunk.fans)
    match stored.kind:
        case StoredKind.EMBEDDING:
            # Chunks of one basis serve layers of different fan-in: the embedding's scale makes up the difference.
            scale = torch.tensor([math.sqrt(widest / fan_in) for fan_in in chunk.fans])
            embedding = torch.randn(stored.shape, generator=random)
            length = math.sqrt(stored.shape[2])
            return torch.nn.functional.normalize(embedding, dim=2) * (length * scale)[None, :, None]
        case StoredKind.HIDDEN:
            moment = activation_moment(settings) if ".hidden1." not in stored.name else 1.0
            return _normal(stored.shape, math.sqrt(1.0 / (stored.shape[0] * moment)), random)
        case StoredKind.BASIS:
            moment = activation_moment(settings) if settings.hidden_layers else 1.0
            unit = math.sqrt(1.0 / (stored.shape[0] * moment))
            parts = [
                _normal((stored.shape[0], part.size), unit * _part_std(part, widest, settings), random)
                for part in chunk.parts
            ]
            return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        case StoredKind.BASIS_BIAS:
            ones = [torch.full((part.size,), float(part.role is Role.NORM_SCALE)) for part in chunk.parts]
            return torch.cat(ones)
        case _:
            return torch.zeros(stored.shape)


def _part_std(part: Part, fan_in: int, settings: HypernetSpec) -> float:
    if part.role is Role.NORM_SCALE and settings.bias:
        return 0.1  # the bias holds the 1 around which scales vary
    return _target_std(part.role, fan_in)


def _fan_in(spec: PipelineSpec, plan: ChunkPlan) -> dict[str, list[int]]:
    """For each internal hypernetwork, the fan-in of the layer that each of its chunks serves."""
    fans = {hypernet.name: [1] * hypernet.chunks for hypernet in plan.hypernets}
    for slot in network_slots(spec.network):
        if slot.role in (Role.KERNEL, Role.SHORTCUT, Role.OUTPUT_WEIGHT):
            for piece in plan.assembly[slot.name].pieces if slot.name in plan.assembly else ():
                fans[piece.hypernet][piece.chunk] = math.prod(slot.shape[1:])
    return fans
