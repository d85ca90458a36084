"""Whether an artifact that promises axes of any size computes the same at another size than that of the samples."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import NotRunError, ParityError
from hnexport.parity.compare import Reference, checked_outputs, compare_member
from hnexport.parity.results import Check
from hnexport.parity.tolerances import Tolerance
from hnexport.spec import BATCH, Signature

__all__ = ["OPEN_AXES", "check_open_axes", "shortened"]

Array = NDArray[np.generic]
Outputs = Mapping[str, Array]

OPEN_AXES = "axes of any size are of any size"
_LEAST_PLACES = 3


def check_open_axes(
    name: str,
    run: Callable[[int, Outputs], Outputs],
    signature: Signature,
    golden: Golden,
    tolerance: Tolerance,
) -> list[Check]:
    """One check where the golden samples have some with shorter axes.

    Args:
        run: `(member, inputs) -> outputs` by name.
    """
    known = golden.resized
    if known is None:
        return []
    reference, sizes = Reference.of(known, 0, signature), _sizes(signature, known.inputs)
    rows = list(range(known.samples))
    try:
        found = checked_outputs(name, signature, run(reference.member, known.inputs), reference.outputs, rows)
    except NotRunError:
        raise
    except ParityError as error:
        return [Check(name=OPEN_AXES, passed=False, detail=f"not with {sizes}: {error}")]
    compared = compare_member(reference, [rows], [found], tolerance)
    detail = f"with {sizes}, relative L2 error {compared.relative_l2:.1e}"
    return [Check(name=OPEN_AXES, passed=compared.passed, detail=detail)]


def shortened(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
    """The inputs without the last place of every axis of any size but the batch; None where there is none to leave out.

    An axis stays where an input has fewer than three places along it.
    """
    places: dict[str, list[tuple[str, int]]] = {}
    for item in signature.inputs:
        for number, size in enumerate(item.shape):
            if isinstance(size, str) and size != BATCH:
                places.setdefault(size, []).append((item.name, number))
    found = dict(inputs)
    for held in places.values():
        if min(inputs[name].shape[axis] for name, axis in held) >= _LEAST_PLACES:
            for name, axis in held:
                found[name] = np.ascontiguousarray(np.take(found[name], range(found[name].shape[axis] - 1), axis))
    changed = any(found[name].shape != array.shape for name, array in inputs.items())
    return found if changed else None


def _sizes(signature: Signature, inputs: Outputs) -> str:
    """Each open axis with its size."""
    found = {
        size: inputs[item.name].shape[axis]
        for item in signature.inputs
        for axis, size in enumerate(item.shape)
        if isinstance(size, str) and size != BATCH
    }
    return ", ".join(f"{name} = {size}" for name, size in found.items())
