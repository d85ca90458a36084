"""Checks of weights, which are sharper than outputs: one wrong element of millions shows.

Stored tensors must be those of the build, bit by bit. The tensors that the layers get, member by member, must be those
that PyTorch generates from them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.fingerprints import fingerprint
from hnexport.errors import HnexportError, ParityError
from hnexport.parity.batches import said
from hnexport.parity.expected import Weights
from hnexport.parity.results import Check
from hnexport.parity.runners import Inspectable
from hnexport.parity.tolerances import Tolerance
from hnexport.parity.trace import Given
from hnexport.parity.trace.slots import find_slots
from hnexport.text import number_of

__all__ = ["check_generated", "check_stored"]

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
    detail = f"{number_of(len(fingerprints), 'tensor')}, bit by bit"
    if wrong or missing:
        detail = f"{wrong[0]} holds other numbers" if wrong else f"{missing[0]} is missing"
        detail += f" ({len(wrong) + len(missing)} of {number_of(len(fingerprints), 'tensor')}); build the bundle again"
    return Check(name="stored tensors are those of the build", passed=not wrong and not missing, detail=detail)


def check_generated(
    artifact: Inspectable,
    weights: Weights,
    members: Sequence[int],
    inputs: Mapping[str, Array],
    tolerance: Tolerance,
    progress: Callable[[int], None],
) -> Check:
    """Each member's layers get the tensors that PyTorch generates.

    Args:
        weights: in float32: its own rounding is a tenth of the tolerance, and float64 would take twice the memory.
        inputs: by name, of one batch: programs show what they are given only while they run.
        progress: called with the number of members done.
    """
    name = "every layer gets its member's tensors"
    worst = (0.0, "", -1)
    for done, member in enumerate(members, start=1):
        expected = weights(member, inputs)
        found = find_slots(expected, _given(artifact, member, inputs), tolerance.weights)
        missing = [slot for slot in expected if slot not in found]
        if missing:
            return Check(name=name, passed=False, detail=f"no layer takes {missing[0]}")
        worst = max(worst, *((found[slot].error, slot, member) for slot in expected))
        progress(done)
    error, slot, member = worst
    detail = f"largest error of an element {error:.1e} of its tensor's scale (member {member}, {slot})"
    return Check(name=name, passed=error <= tolerance.weights, detail=detail)


def _given(artifact: Inspectable, member: int, inputs: Mapping[str, Array]) -> Given:
    """What an artifact gives its operators.

    Raises:
        ParityError: it cannot be run.
    """
    try:
        return artifact.weights(member, inputs)
    except HnexportError:
        raise
    except Exception as error:  # each runtime has its own
        raise ParityError(f"its runtime cannot run member {member} with one batch: {said(error)}") from error
