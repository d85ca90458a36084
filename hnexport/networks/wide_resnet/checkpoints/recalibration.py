"""Batch-norm statistics of each member of a checkpoint, estimated anew from images; see `hnexport.recalibration`."""

from dataclasses import dataclass, replace

from torch import Tensor

from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.family import IMAGE
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.progress import Progress, no_progress
from hnexport.recalibration import BATCH_SIZE, Change
from hnexport.recalibration import recalibrate as recalibrated
from hnexport.records import from_json

__all__ = ["BATCH_SIZE", "Change", "Recalibration", "recalibrate"]


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
        batch_size, seed: as in `hnexport.recalibration.recalibrate`.

    Raises:
        SpecError, RuntimeInputError: the network has no batch norm, the images are not what the graph takes, or are too
            few, or give statistics that are not finite.
    """
    found = recalibrated(checkpoint.ensemble(), {IMAGE: images}, batch_size=batch_size, seed=seed, progress=progress)
    return Recalibration(
        checkpoint=replace(
            checkpoint,
            spec=from_json(PipelineSpec, found.ensemble.source.spec),
            tensors=found.ensemble.tensors,
            origin=f"{checkpoint.origin}; batch-norm statistics of each member estimated from {len(images)} images",
        ),
        images=found.samples,
        batches=found.batches,
        norms=found.norms,
        had_own=found.had_own,
        changes=found.changes,
    )
