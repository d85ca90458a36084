"""Batch-norm statistics of each member, estimated anew from images: what training with one set for all leaves undone.

Weights stay as they are. Each member sees the images in training mode, batch by batch, and every batch norm remembers
the mean over the batches of mean and (unbiased) variance: what its running statistics would have become, had each
member been trained with a set of its own. Dropout is off, because it is off where the statistics are used.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hnexport.errors import SpecError
from hnexport.names import MEMBER_PREFIX, SHARED_PREFIX
from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.slots import Role, network_slots
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.progress import Progress, no_progress

__all__ = ["BATCH_SIZE", "Change", "Recalibration", "recalibrate"]

BATCH_SIZE = 100
_STAGE = "statistics"
_EPSILON = 1e-5  # batch norm's own


@dataclass(frozen=True, kw_only=True)
class Change:
    """How far a member's statistics moved, at the batch norm where they moved most.

    Attributes:
        norm: its name in the network, `group2.block1.norm1`.
        mean: by how many of the old standard deviations the mean moved, root mean square over the channels.
        std: by which factor the standard deviation changed, the geometric mean over the channels.
    """

    member: int
    norm: str
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Recalibration:
    """A checkpoint with statistics of each member, and what they were made of.

    Attributes:
        had_own: whether each member had a set of its own before.
    """

    checkpoint: Checkpoint
    images: int
    batches: int
    norms: int
    had_own: bool
    changes: tuple[Change, ...]


def recalibrate(
    checkpoint: Checkpoint,
    images: Tensor,
    *,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Recalibration:
    """Estimate the batch-norm statistics of every member; the checkpoint that is given stays as it is.

    Args:
        images: training images as the graph takes them (`PipelineSpec.image_input`), normalised as in training.
        batch_size: about how many images are normalised together, as in training; batches are of equal size.
        seed: of the order in which images come into batches: files are often sorted by class.

    Raises:
        SpecError: the network has no batch norm, or there are too few images.
        RuntimeInputError: the images are not what the graph takes.
        CheckpointError: images give statistics that are not finite.
    """
    spec = checkpoint.spec
    _check(spec, len(images), batch_size)
    own = dataclasses.replace(spec, member_statistics=spec.members > 1 or spec.member_statistics)
    before = _with_sets(checkpoint, own)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    batches = order.tensor_split(max(1, round(len(images) / batch_size)))
    after = before | _estimated(Pipeline(own, _copies(before)), images, batches, progress)
    return Recalibration(
        checkpoint=Checkpoint(
            spec=own,
            tensors=after,
            origin=f"{checkpoint.origin}; batch-norm statistics of each member estimated from {len(images)} images",
            usage=checkpoint.usage,
        ),
        images=len(images),
        batches=len(batches),
        norms=sum(slot.role is Role.NORM_MEAN for slot in network_slots(own.network)),
        had_own=spec.member_statistics,
        changes=tuple(_change(own, member, before, after) for member in range(own.members)),
    )


def _check(spec: PipelineSpec, images: int, batch_size: int) -> None:
    if not spec.network.batch_norm:
        raise SpecError(f"{spec.name} has no batch norm: there are no statistics to estimate")
    if batch_size < 2:
        raise SpecError(f"batch_size: statistics need batches of at least 2 images, found {batch_size}")
    if images < 2:
        raise SpecError(f"statistics need at least 2 images, and some hundred to be good ones; found {images}")


def _with_sets(checkpoint: Checkpoint, own: PipelineSpec) -> dict[str, Tensor]:
    """The tensors as `own` stores them: one set of statistics becomes one for each member."""
    held = checkpoint.tensors
    return {
        item.name: held[item.name]
        if item.name in held
        else held[f"{SHARED_PREFIX}{item.slot}"].expand(item.shape).contiguous()
        for item in stored_tensors(own)
    }


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bases in float32, in which the network is computed; statistics that can be written."""
    return {name: tensor.float().contiguous().clone() for name, tensor in tensors.items()}


def _estimated(pipeline: Pipeline, images: Tensor, batches: Sequence[Tensor], progress: Progress) -> dict[str, Tensor]:
    """The statistics of every member by stored name."""
    spec = pipeline.spec
    names = [item.name for item in stored_tensors(spec) if not item.trained]
    totals = {name: torch.zeros(pipeline.tensors()[name].shape, dtype=torch.float64) for name in names}
    pipeline.train()
    for part in pipeline.network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0  # what is kept is the batch's own
        elif isinstance(part, nn.Dropout):
            part.eval()
    with torch.no_grad():
        for member in range(spec.members):
            for number, chosen in enumerate(batches, start=1):
                pipeline(member, images[chosen])
                held = pipeline.tensors()
                for name, total in totals.items():
                    place = member if spec.member_statistics else ...
                    total[place] += held[name][place].double() / len(batches)
                progress(_STAGE, member * len(batches) + number, spec.members * len(batches))
    return {name: total.float() for name, total in totals.items()}


def _change(spec: PipelineSpec, member: int, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Change:
    """Of a member, at the batch norm whose mean moved most."""
    prefix, place = (MEMBER_PREFIX, member) if spec.member_statistics else (SHARED_PREFIX, ...)
    changes = []
    for slot in network_slots(spec.network):
        if slot.role is not Role.NORM_MEAN:
            continue
        norm = slot.name.removesuffix(".running_mean")
        mean, variance = f"{prefix}{slot.name}", f"{prefix}{norm}.running_var"
        old = before[variance][place].double() + _EPSILON
        moved = (after[mean][place] - before[mean][place]).double().square() / old
        factor = ((after[variance][place].double() + _EPSILON) / old).log().mean().div(2).exp()
        changes.append(Change(member=member, norm=norm, mean=float(moved.mean().sqrt()), std=float(factor)))
    return max(changes, key=lambda change: change.mean)
