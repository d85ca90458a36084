"""Members whose kernels differ, and one set of batch-norm statistics for all: a mixture that fits none of them."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from hnexport.spec import Slot, StoredTensor

__all__ = ["kernels_differ", "warn_of_mixture"]

_log = logging.getLogger(__name__)
_MEAN, _STATISTICS = ".running_mean", (".running_mean", ".running_var")


def kernels_differ(slots: Sequence[Slot], stored: Iterable[StoredTensor]) -> bool:
    """Whether members have matrices or kernels of their own before the last statistics: a head comes after them.

    Args:
        slots: modules in the order of the network. What nothing stores is generated, and so is each member's own.
    """
    shared = {item.slot for item in stored if item.slot is not None and not item.is_conditional}
    places: dict[str, int] = {}  # of modules: buffers come after all parameters
    for place, slot in enumerate(slots):
        places.setdefault(slot.name.rpartition(".")[0], place)
    norms = (slot.name.rpartition(".")[0] for slot in slots if f".{slot.name}".endswith(_STATISTICS))
    last = max((places[norm] for norm in norms), default=-1)
    return any(
        slot.trained and slot.alias_of is None and len(slot.shape) > 1 and slot.name not in shared
        for slot in slots[: last + 1]
    )


def warn_of_mixture(
    where: str,
    members: int,
    slots: Sequence[Slot],
    stored: Sequence[StoredTensor],
    tensors: Mapping[str, Tensor],
    remedy: str,
) -> None:
    """Log a warning where members that differ have one set of statistics, and training has written it.

    Args:
        tensors: the stored ones by name.
        remedy: how to train with a set for each member, and how to estimate one afterwards, in words.
    """
    means = [item for item in stored if f".{item.slot}".endswith(_MEAN) and not item.is_conditional]
    written = next((item for item in means if tensors[item.name].any()), None)
    if members > 1 and written is not None and kernels_differ(slots, stored):
        _log.warning(
            "%s: %d members with kernels of their own meet one set of batch-norm statistics (%s), a mixture that fits "
            "none of them: they predict much worse than in training. %s",
            where,
            members,
            written.slot,
            remedy,
        )
