"""Tensors of all members where each was read by itself: members compute the same, over tensors that may differ."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hnexport.dotted import is_same
from hnexport.errors import SpecError
from hnexport.networks.modules.members import check_finite
from hnexport.networks.steps.reading import Read, difference

__all__ = ["all_members", "check_alike", "is_shared"]


def check_alike(where: str, first: Read, other: Read) -> None:
    """Check that a member computes what the first does.

    Raises:
        SpecError: it does not.
    """
    found = difference(first, other)
    if found is not None:
        raise SpecError(f"{where} computes something else than member 0, there can be one graph only: {found}")


def is_shared(of_members: Sequence[Tensor]) -> bool:
    """One tensor for all members: the same object, or what is no parameter and equal."""
    first = of_members[0]
    return all(
        other is first or (not isinstance(first, nn.Parameter) and is_same(first, other)) for other in of_members[1:]
    )


def all_members(name: str, of_members: Sequence[Tensor], *, shared: bool) -> Tensor:
    """A copy of a tensor that all share, or those of all members, stacked.

    Raises:
        SpecError: one holds NaN or infinity.
    """
    tensors = [tensor.detach() for tensor in (of_members[:1] if shared else of_members)]
    check_finite("hnet and mnet", ((name, tensor) for tensor in tensors))
    return tensors[0].clone().contiguous() if shared else torch.stack(tensors)
