"""Checkpoints: the native format, and import of ensembles that were trained with hypnettorch."""

from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.checkpoints.fresh import random_checkpoint
from hnexport.networks.wide_resnet.checkpoints.hypnettorch import import_hypnettorch, load_hypnettorch
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_inference import HypnettorchOverrides
from hnexport.networks.wide_resnet.checkpoints.native import check_checkpoint_target, load_checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.checkpoints.recalibration import Recalibration, recalibrate
from hnexport.networks.wide_resnet.checkpoints.state_dicts import StateDicts, read_state_dicts

__all__ = [
    "Checkpoint",
    "HypnettorchOverrides",
    "Recalibration",
    "StateDicts",
    "check_checkpoint_target",
    "import_hypnettorch",
    "load_checkpoint",
    "load_hypnettorch",
    "random_checkpoint",
    "read_state_dicts",
    "recalibrate",
    "save_checkpoint",
]
