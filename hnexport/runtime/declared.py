"""Whether a session's inputs and outputs are those of the manifest: said where the file is opened, not by a call."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from hnexport.errors import BundleError
from hnexport.reading import shown
from hnexport.spec import Slot, TensorSpec

__all__ = ["check_declared"]

_TYPES = {"float32": "tensor(float)", "float64": "tensor(double)"}


def check_declared(
    path: Path,
    session: onnxruntime.InferenceSession,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec | Slot],
) -> None:
    """Compare names, dtypes and fixed sizes.

    Args:
        outputs: the file may have others too.

    Raises:
        BundleError: one is missing or another one, or there is an input that the manifest does not name.
    """
    takes = {item.name: item for item in session.get_inputs()}
    gives = {item.name: item for item in session.get_outputs()}
    further = sorted(set(takes) - {item.name for item in inputs})
    if further:
        raise BundleError(f"{path} takes {shown(further[0])}, which the manifest does not name; copy or build it again")
    pairs = [*((item, takes.get(item.name)) for item in inputs), *((item, gives.get(item.name)) for item in outputs)]
    for wanted, found in pairs:
        if not _fits(wanted, found):
            have = "none" if found is None else f"{found.type} {shown(found.shape)}"
            raise BundleError(
                f"{path}: expected {shown(wanted.name)} as {wanted.dtype} {shown(list(wanted.shape))}, as the "
                f"manifest says, found {have}; copy or build it again"
            )


def _fits(wanted: TensorSpec | Slot, found: Any) -> bool:
    if found is None or found.type != _TYPES.get(wanted.dtype, f"tensor({wanted.dtype})"):
        return False
    shape: Iterable[Any] = found.shape
    pairs = list(zip(wanted.shape, shape, strict=False))
    fixed = [(one, other) for one, other in pairs if isinstance(one, int) and isinstance(other, int)]
    return len(pairs) == len(wanted.shape) == len(found.shape) and all(one == other for one, other in fixed)
