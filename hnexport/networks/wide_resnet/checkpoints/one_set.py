"""A warning of checkpoints whose members were trained on one set of batch-norm statistics."""

from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.storage import generator_spec, stored_tensors
from hnexport.training.mixture import warn_of_mixture

__all__ = ["warn_of_one_set"]


def warn_of_one_set(
    where: str, checkpoint: Checkpoint, how: str = "member_statistics=True in the specification"
) -> None:
    """Log it, with what helps.

    Args:
        how: one trains with a set for each member.
    """
    spec = checkpoint.spec
    warn_of_mixture(
        where,
        spec.members,
        generator_spec(spec).slots,
        stored_tensors(spec),
        checkpoint.tensors,
        f"Train with a set for each member ({how}), or estimate them from training images with `hnexport recalibrate`",
    )
