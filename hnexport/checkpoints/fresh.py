"""A checkpoint of random weights, for trying things out."""

from hnexport.checkpoints.checkpoint import Checkpoint
from hnexport.hypernet.initialise import initialise
from hnexport.spec import PipelineSpec

__all__ = ["random_checkpoint"]


def random_checkpoint(spec: PipelineSpec, seed: int = 0) -> Checkpoint:
    """Random weights with sane activations, from an explicit seed; see `hnexport.hypernet.initialise`."""
    return Checkpoint(spec=spec, tensors=initialise(spec, seed), origin=f"random weights, seed {seed}")
