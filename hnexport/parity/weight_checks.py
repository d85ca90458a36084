"""Checks of weights, which are sharper than logits: one wrong element of millions shows.

Stored tensors must be those of the build, bit by bit. The tensors that the layers get, member by member, must be those
that PyTorch generates from them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.fingerprints import fingerprint
from hnexport.parity.results import Check
from hnexport.parity.runners import Inspectable
from hnexport.parity.tolerances import Tolerance

__all__ = ["check_generated", "check_stored", "tensor_error"]

Array = NDArray[np.generic]


def check_stored(artifact: Inspectable, fingerprints: Mapping[str, str]) -> Check:
    """Every stored tensor in the artifact's files is the one that the bundle was built from."""
    found: set[str] = set()
    wrong: list[str] = []
    for name, tensor in artifact.stored():
        if name in fingerprints:
            found.add(name)
            if fingerprint(tensor) != fingerprints[name]:
                wrong.append(name)
    missing = [name for name in fingerprints if name not in found]
    detail = f"{len(fingerprints)} tensors, bit by bit"
    if wrong or missing:
        detail = f"{wrong[0]} holds other numbers" if wrong else f"{missing[0]} is missing"
        detail += f" ({len(wrong) + len(missing)} of {len(fingerprints)} tensors); build the bundle again"
    return Check(name="stored tensors are those of the build", passed=not wrong and not missing, detail=detail)


def check_generated(
    artifact: Inspectable,
    weights: Callable[[int], Mapping[str, Tensor]],
    members: Sequence[int],
    tolerance: Tolerance,
    progress: Callable[[int], None],
) -> Check:
    """Each member's layers get the tensors that PyTorch generates.

    Args:
        weights: from a member to its tensors by slot, in float32: the generator's own rounding is a tenth of the
            tolerance, and float64 would take twice the memory.
        progress: called with the number of members done.
    """
    name = "every layer gets its member's tensors"
    worst = (0.0, "", -1)
    for done, member in enumerate(members, start=1):
        expected = weights(member)
        found = artifact.weights(member)
        missing = [slot for slot in expected if slot not in found]
        if missing:
            return Check(name=name, passed=False, detail=f"no layer takes {missing[0]}")
        worst = max(worst, *((tensor_error(found[slot], expected[slot]), slot, member) for slot in expected))
        progress(done)
    error, slot, member = worst
    detail = f"largest error of an element {error:.1e} of its tensor's scale (member {member}, {slot})"
    return Check(name=name, passed=error <= tolerance.weights, detail=detail)


def tensor_error(found: Array, expected: Tensor) -> float:
    """Largest |difference| of an element over the expected tensor's root mean square; infinite for another shape."""
    if found.shape != tuple(expected.shape):
        return float("inf")
    # In float32 where the artifact is: the difference of two close numbers is exact.
    if not expected.numel():
        return 0.0
    if not expected.is_floating_point():
        return 0.0 if torch.equal(torch.from_numpy(_writable(found)), expected) else float("inf")
    wide = torch.float64 if expected.dtype is torch.float64 else torch.float32
    difference = float((torch.from_numpy(_writable(found)).to(wide) - expected.to(wide)).abs().max())
    scale = float(torch.linalg.vector_norm(expected.double())) / expected.numel() ** 0.5
    if difference == 0.0:
        return 0.0
    error = difference / max(scale, np.finfo(np.float32).tiny)
    return error if np.isfinite(error) else float("inf")


def _writable(array: Array) -> Array:
    return array if array.flags.writeable else np.array(array)
