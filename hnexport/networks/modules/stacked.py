"""The generator of a list of modules: what differs is stacked and selected, what is equal is shared."""

from collections.abc import Mapping

from torch import Tensor, nn

from hnexport.dotted import register
from hnexport.errors import CheckpointError
from hnexport.hypernet.selection import selected
from hnexport.names import GUARD
from hnexport.spec import StoredTensor

__all__ = ["Stacked"]


class Stacked(nn.Module):
    """`cond_id -> {slot: tensor}`, and the guard.

    An id that does not exist is clamped, so that no runtime reads out of bounds; `names.GUARD` is NaN then.
    """

    def __init__(self, stored: tuple[StoredTensor, ...], members: int, tensors: Mapping[str, Tensor]) -> None:
        """Take `tensors` as they are, without a copy.

        Args:
            stored: each of one slot, as `hnexport.spec.stored_as` says.
            tensors: by their stored names.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of the wrong shape or dtype.
        """
        super().__init__()
        self.members = members
        self._stored = stored
        _check(stored, tensors)
        for item in stored:
            register(self, item.name, tensors[item.name], trained=item.trained)

    def forward(self, cond_id: Tensor) -> dict[str, Tensor]:
        """`cond_id`: int64 scalar; returns each slot's tensor and the guard, float32 `[1]`."""
        tensors, guard = selected(self, self._stored, self.members, cond_id)
        return {GUARD: guard, **{str(item.slot): tensors[item.name] for item in self._stored}}


def _check(stored: tuple[StoredTensor, ...], tensors: Mapping[str, Tensor]) -> None:
    names = {item.name for item in stored}
    unknown = next((name for name in tensors if name not in names), None)
    if unknown is not None:
        raise CheckpointError(f"tensor {unknown} is not one of this ensemble's")
    for item in stored:
        if item.name not in tensors:
            raise CheckpointError(f"tensor {item.name} is missing")
        found = tensors[item.name]
        dtype, shape = str(found.dtype).removeprefix("torch."), tuple(found.shape)
        if (dtype, shape) != (item.dtype, item.shape):
            raise CheckpointError(
                f"tensor {item.name}: expected {item.dtype} {list(item.shape)}, found {dtype} {list(shape)}"
            )
