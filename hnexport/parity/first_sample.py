"""What the outputs of the first sample say of the members together: whether they differ, and how far their mean is."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.parity.checks import check_members_differ
from hnexport.parity.compare import Reference, row_limits
from hnexport.parity.results import Check
from hnexport.parity.tolerances import EAGER_FLOOR, Tolerance
from hnexport.rows import flat_rows, relative_l2
from hnexport.spec import Signature

__all__ = ["ensemble_error", "first_rows", "members_checks"]

Array = NDArray[np.generic]
Outputs = Mapping[str, Array]


def first_rows(signature: Signature, outputs: Outputs, row: int = 0) -> dict[str, Array]:
    """One sample's outputs, `[element]` each; of an output without a batch axis all of it."""
    return {
        output.name: flat_rows(output, np.asarray(outputs[output.name]))[row if output.has_batch else 0]
        for output in signature.outputs
    }


def members_checks(signature: Signature, golden: Golden, found: Outputs, tolerance: Tolerance) -> list[Check]:
    """Whether the members are as far apart as the reference's: of the first output for which that is not so, or of one.

    Args:
        found: by output `[member, element]`, of the first sample.
    """
    checks = []
    for output in signature.outputs:
        if len(golden.members) < 2 or not output.is_floating:
            continue
        known = _first_reference(signature, golden)[output.name]
        lost = max(_lost_of_first(golden, output.name, tolerance), EAGER_FLOOR)
        checks.append(check_members_differ(found[output.name], known, tolerance, lost=lost))
    return [next((check for check in checks if not check.passed), checks[0])] if checks else []


def ensemble_error(signature: Signature, golden: Golden, found: Outputs) -> float:
    """Largest relative L2 error of the mean over the members, of the floating-point outputs of the first sample."""
    known = _first_reference(signature, golden)
    errors = [
        float(relative_l2(found[output.name].astype(np.float64).mean(axis=0), known[output.name].mean(axis=0)))
        for output in signature.outputs
        if output.is_floating
    ]
    return max(errors)


def _lost_of_first(golden: Golden, output: str, tolerance: Tolerance) -> float:
    """What float32 loses of the first row; eager's error as far as the tolerance goes, where that judges the row."""
    noise, eager = (errors[output][:, 0] for errors in (golden.noise, golden.eager))
    ill = row_limits(eager, noise, tolerance).ill
    return float(np.maximum(noise, np.where(ill, eager, np.minimum(eager, tolerance.relative_l2))).max())


def _first_reference(signature: Signature, golden: Golden) -> dict[str, NDArray[np.float64]]:
    rows = [first_rows(signature, Reference.of(golden, i, signature).outputs) for i in range(len(golden.members))]
    return {output.name: np.stack([row[output.name] for row in rows]) for output in signature.outputs}
