"""Checkpoints: the native format, and import of ensembles that were trained with hypnettorch."""

from hnexport.checkpoints.checkpoint import Checkpoint
from hnexport.checkpoints.fresh import random_checkpoint
from hnexport.checkpoints.hypnettorch import import_hypnettorch, load_hypnettorch
from hnexport.checkpoints.hypnettorch_inference import HypnettorchOverrides
from hnexport.checkpoints.native import check_checkpoint_target, load_checkpoint, save_checkpoint
from hnexport.checkpoints.state_dicts import StateDicts, read_state_dicts

__all__ = [
    "Checkpoint",
    "HypnettorchOverrides",
    "StateDicts",
    "check_checkpoint_target",
    "import_hypnettorch",
    "load_checkpoint",
    "load_hypnettorch",
    "random_checkpoint",
    "read_state_dicts",
    "save_checkpoint",
]
