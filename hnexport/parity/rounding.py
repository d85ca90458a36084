"""What rounding the bases changed: outputs of the rounded ensemble against those of the one it was made from.

That is no error of an artifact: the model that a bundle ships is that of the rounded bases, and artifacts are held to
it as strictly as to any other. Both sides are PyTorch in float64, so that nothing but the rounding differs.
"""

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import BasisRounding
from hnexport.ensemble import Ensemble
from hnexport.hypernet.bases import basis_rounding
from hnexport.parity.double import run_double
from hnexport.progress import Progress, no_progress
from hnexport.rows import row_errors

__all__ = ["MEMBERS_MEASURED", "measure_rounding"]

MEMBERS_MEASURED = 3


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
    reference, errors = exact.double(), []
    for row, member in enumerate(members):
        outputs = run_double(reference, member, golden.inputs)
        errors += [
            float(row_errors(golden.outputs[name][row], array).max())
            for name, array in outputs.items()
            if array.dtype.kind == "f"
        ]
        progress("rounding", row + 1, len(members))
    return BasisRounding(
        bases=basis_rounding(rounded.stored, exact.tensors, rounded.tensors),
        logits=max(errors),
        members=tuple(members),
    )
