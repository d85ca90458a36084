"""Checkpoints: the native format, and import of ensembles that hypnettorch or the late-phase code trained."""

from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.checkpoints.fresh import random_checkpoint
from hnexport.networks.wide_resnet.checkpoints.hypnettorch import import_hypnettorch, load_hypnettorch
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_inference import HypnettorchOverrides
from hnexport.networks.wide_resnet.checkpoints.late_phase.importing import import_late_phase, load_late_phase
from hnexport.networks.wide_resnet.checkpoints.late_phase.state import is_late_phase
from hnexport.networks.wide_resnet.checkpoints.native import (
    check_checkpoint_target,
    is_native,
    load_checkpoint,
    save_checkpoint,
)
from hnexport.networks.wide_resnet.checkpoints.recalibration import Recalibration, recalibrate
from hnexport.networks.wide_resnet.checkpoints.state_dicts import StateDicts, read_state_dicts

__all__ = [
    "Checkpoint",
    "HypnettorchOverrides",
    "Recalibration",
    "StateDicts",
    "check_checkpoint_target",
    "import_hypnettorch",
    "import_late_phase",
    "is_late_phase",
    "is_native",
    "load_checkpoint",
    "load_hypnettorch",
    "load_late_phase",
    "random_checkpoint",
    "read_state_dicts",
    "recalibrate",
    "save_checkpoint",
]
