"""What rounding the bases changed: outputs of the rounded ensemble against those of the one it was made from.

That is no error of an artifact: the model that a bundle ships is that of the rounded bases, and artifacts are held to
it as strictly as to any other. Both sides are PyTorch in float64, so that nothing but the rounding differs.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import BasisRounding
from hnexport.ensemble import Ensemble
from hnexport.errors import ParityError, SpecError
from hnexport.hypernet.bases import basis_rounding
from hnexport.parity.double import run_double
from hnexport.progress import Progress, no_progress
from hnexport.rows import row_errors
from hnexport.spec import OutputKind, OutputSpec

__all__ = ["MEMBERS_MEASURED", "RoundedTooMuchError", "check_rounding", "measure_rounding"]

MEMBERS_MEASURED = 3

Array = NDArray[np.generic]


class RoundedTooMuchError(ParityError):
    """Rounding the bases changed more than was allowed."""


def check_rounding(found: BasisRounding, *, most_change: float | None, least_agreement: float | None) -> None:
    """Compare what rounding changed with what was allowed; None allows anything.

    Raises:
        RoundedTooMuchError: it is more.
        SpecError: an agreement is asked for, and no output is of logits.
    """
    remedy = "store the bases in more bits"
    if most_change is not None and found.logits > most_change:
        raise RoundedTooMuchError(
            f"rounding the bases changed an output by {found.logits:.2e} (relative L2 of a row), allowed "
            f"{most_change:g}: {remedy}"
        )
    if least_agreement is None:
        return
    if found.agreement is None:
        raise SpecError("no output is of logits: there is no largest class that rounding could change")
    if found.agreement < least_agreement:
        raise RoundedTooMuchError(
            f"with rounded bases {found.agreement:.2%} of the rows have the same largest class, asked for were "
            f"{least_agreement:.2%}: {remedy}"
        )


def measure_rounding(
    exact: Ensemble, rounded: Ensemble, golden: Golden, *, progress: Progress = no_progress
) -> BasisRounding:
    """Compare the first members of the golden samples, with every kind of sample.

    Args:
        exact: over the stored tensors before they were rounded.
        rounded: what the bundle holds.
        golden: the reference outputs of `rounded`.
    """
    members = [int(member) for member in golden.members[:MEMBERS_MEASURED]]
    reference, errors, same = exact.double(), list[float](), list[NDArray[np.bool_]]()
    for row, member in enumerate(members):
        outputs = run_double(reference, member, golden.inputs)
        errors += [
            float(row_errors(golden.outputs[name][row], array).max())
            for name, array in outputs.items()
            if array.dtype.kind == "f"
        ]
        same += _same_classes(exact.signature.outputs, outputs, {name: golden.outputs[name][row] for name in outputs})
        progress("rounding", row + 1, len(members))
    return BasisRounding(
        bases=basis_rounding(rounded.stored, exact.tensors, rounded.tensors),
        logits=max(errors),
        members=tuple(members),
        agreement=float(np.concatenate(same).mean()) if same else None,
    )


def _same_classes(
    outputs: Iterable[OutputSpec], first: Mapping[str, Array], second: Mapping[str, Array]
) -> list[NDArray[np.bool_]]:
    """Of each output of logits, where both have the largest in the same place."""
    logits = [output for output in outputs if output.kind is OutputKind.LOGITS]
    return [
        (first[output.name].argmax(output.axis) == second[output.name].argmax(output.axis)).reshape(-1)
        for output in logits
    ]
