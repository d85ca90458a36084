"""One member's tensors out of those of all members, in every runtime alike."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from hnexport.spec import Slot, StoredTensor, stored_as

__all__ = ["selected", "with_copies"]


def selected(
    module: nn.Module, stored: Iterable[StoredTensor], members: int, cond_id: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """A member's tensors by their stored names, and the guard: float32 `[1]`, 0 or, where there is no such member, NaN.

    An id that does not exist is clamped, so that no runtime reads out of bounds.

    Args:
        module: holds the tensors under their stored names; those of members have the member as their first axis.
        cond_id: int64 scalar.
    """
    given = cond_id.reshape(1)  # one element throughout: CoreML clamps and compares no scalars
    row = given.clamp(0, members - 1)
    guard = torch.where(row == given, 0.0, math.nan)
    tensors = {}
    for item in stored:
        owner, _, leaf = item.name.rpartition(".")
        tensor: Tensor = getattr(module.get_submodule(owner), leaf)
        own = item.is_conditional
        tensors[item.name] = tensor.index_select(0, row).reshape(item.shape[1:]) if own else tensor
    return tensors, guard


def with_copies(
    stored: Iterable[StoredTensor],
    tensors: Mapping[str, Tensor],
    slots: Iterable[Slot],
    members: int,
) -> tuple[tuple[StoredTensor, ...], dict[str, Tensor]]:
    """What is stored, and its tensors, when each member has its own of some slots: all begin with the shared one.

    Args:
        stored: what is stored before.
        slots: those that become members' own, each stored as one for all.
    """
    own = {slot.name: stored_as(slot, members, shared=False) for slot in slots}
    made = [(own.get(item.slot or "", item), tensors[item.name]) for item in stored]
    held = {
        item.name: tensor.expand(item.shape).clone(memory_format=torch.contiguous_format)
        if item.slot in own
        else tensor
        for item, tensor in made
    }
    return tuple(item for item, _ in made), held
