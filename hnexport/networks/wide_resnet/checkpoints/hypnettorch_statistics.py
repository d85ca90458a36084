"""Sets of batch-norm statistics in hypnettorch's state dicts: which are whose, and what is wrong with them.

`checkpoint_stats` adds a set, and `mnet.forward(…, condition=k)` uses set `k`; without `condition` the latest one.
"""

import logging
from collections.abc import Sequence

import torch

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_names import MainState
from hnexport.networks.wide_resnet.checkpoints.one_set import warn_of_one_set
from hnexport.spelling import spelled

__all__ = ["statistics_sets", "warn_of_statistics"]

_log = logging.getLogger(__name__)


def statistics_sets(main: MainState, members: int, chosen: int | tuple[int, ...] | None) -> Sequence[int]:
    """The sets to take: one for all members, or one for each in their order.

    Raises:
        CheckpointError: a set that was chosen does not exist, they are neither one nor as many as members, or nobody
            said which of too many or too few are meant.
    """
    if not main.statistics:
        return (0,)
    available = len(main.statistics[0])
    if chosen is None:
        if available not in (1, members):
            raise CheckpointError(_wrong_number(main, members, available))
        return range(available)
    sets = (chosen,) if isinstance(chosen, int) else chosen
    missing = next((number for number in sets if not 0 <= number < available), None)
    if missing is not None:
        raise CheckpointError(f"mnet: there is no set {missing} of batch-norm statistics: found 0 to {available - 1}")
    if len(sets) not in (1, members):
        raise CheckpointError(
            f"mnet: {len(sets)} sets of batch-norm statistics were chosen for {members} members: choose one for all, "
            "or one for each"
        )
    return sets


def warn_of_statistics(origin: str, main: MainState, checkpoint: Checkpoint, sets: Sequence[int]) -> None:
    """Say what leaves a trace that somebody should look at, though it can be built."""
    if not main.statistics or checkpoint.spec.members == 1:
        return
    warn_of_one_set(
        origin, checkpoint, f"checkpoint_stats called {checkpoint.spec.members - 1} times, and condition=cond_id"
    )
    idle = [number for number in sets if number in _never_updated(main)]
    if len(sets) > 1 and 0 < len(idle) < len(sets):
        _log.warning(
            "%s: batch-norm statistics mean_%d were never updated: was this member trained with condition=cond_id? "
            "Estimate them from training images with `hnexport recalibrate`",
            origin,
            idle[0],
        )


def _wrong_number(main: MainState, members: int, available: int) -> str:
    """What is wrong, and the remedy."""
    where = (
        f"mnet tensor '_batchnorm_layers.0.mean_{available - 1}': expected one set of batch-norm statistics, or one "
    )
    where += f"for each of {members} members, found {available}"
    if available != members + 1:
        one = spelled("HypnettorchOverrides(statistics=0)", "--statistics 0")
        return f"{where}; choose one for all members ({one}), or one for each"
    idle = _never_updated(main)
    surplus = idle[0] if len(idle) == 1 else members
    kept = [number for number in range(available) if number != surplus]
    listed = ",".join(map(str, kept))
    remedy = spelled(f"HypnettorchOverrides(statistics=({listed.replace(',', ', ')}))", f"--statistics {listed}")
    return (
        f"{where}: checkpoint_stats was called once too often, and members - 1 times is right"
        + (f"; set {surplus} was never updated" if idle == [surplus] else "")
        + f". If they were trained with condition=cond_id, give each member its own: {remedy}"
    )


def _never_updated(main: MainState) -> list[int]:
    """The sets that are as they are made: mean 0 and variance 1 in every layer."""

    def is_new(number: int) -> bool:
        pairs = (layer[number] for layer in main.statistics)
        return all(not mean.any() and torch.equal(var, torch.ones_like(var)) for mean, var in pairs)

    return [number for number in range(len(main.statistics[0])) if is_new(number)]
