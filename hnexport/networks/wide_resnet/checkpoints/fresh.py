"""A checkpoint of random weights, for trying things out."""

from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spec.usage import Normalisation, Usage

__all__ = ["random_checkpoint"]


def random_checkpoint(spec: PipelineSpec, seed: int = 0) -> Checkpoint:
    """Random weights with sane activations, from an explicit seed; see `hnexport.networks.wide_resnet.initialise`."""
    # no training is to be repeated: pictures may reach it in any way, and pixel / 255 is the simplest
    usage = Usage(normalisation=Normalisation()) if spec.preprocess is None else Usage()
    return Checkpoint(spec=spec, tensors=initialise(spec, seed), origin=f"random weights, seed {seed}", usage=usage)
