"""What rounding the bases changed: outputs of the rounded ensemble against those of the one it was made from.

That is no error of an artifact: the model that a bundle ships is that of the rounded bases, and artifacts are held to
it as strictly as to any other. Both sides are PyTorch in float64, so that nothing but the rounding differs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import BasisJudgement, BasisRounding
from hnexport.ensemble import Ensemble
from hnexport.errors import DifferentError, ParityError, SpecError
from hnexport.hypernet.bases import basis_rounding
from hnexport.parity.double import run_double
from hnexport.parity.inputs import probe_inputs
from hnexport.parity.whole_numbers import whole_numbers
from hnexport.progress import Progress, no_progress
from hnexport.rows import row_errors
from hnexport.spec import BasisDtype, OutputKind, OutputSpec, StoredTensor
from hnexport.spec.bases import basis_dtype
from hnexport.spelling import spelled

__all__ = [
    "MEMBERS_MEASURED",
    "Judge",
    "RoundedTooMuchError",
    "check_measurable",
    "check_rounding",
    "is_rounded",
    "measure_probes",
    "measure_rounding",
]

MEMBERS_MEASURED = 3

Array = NDArray[np.generic]
Judge = Callable[[Ensemble, Ensemble, Progress], BasisJudgement]
"""`(exact, rounded, progress)`: what rounding changes on data; raises `RoundedTooMuchError` where it may not."""


class RoundedTooMuchError(ParityError, DifferentError):
    """Rounding the bases changed more than was allowed."""


def is_rounded(exact: Ensemble, rounded: Ensemble) -> bool:
    """Whether any basis is another one."""
    return basis_rounding(rounded.stored, exact.tensors, rounded.tensors) > 0


def check_measurable(stored: Iterable[StoredTensor], bases: BasisDtype | None, limits: Iterable[object]) -> None:
    """Refuse limits of what rounding may change where nothing is rounded, or it was rounded before.

    Args:
        stored: of the ensemble that is to be rounded.
        bases: what to; None leaves the bases as they are.
        limits: whatever is not None.

    Raises:
        SpecError: there is no telling.
    """
    given = [limit for limit in limits if limit is not None]
    if not given:
        return
    if any(isinstance(limit, float) and not limit >= 0.0 for limit in given):  # NaN too, which nothing is over
        raise SpecError(f"a limit of what rounding may change is a number from 0, found {given}")
    said = spelled("bases=", "--bases")
    if bases is None:
        raise SpecError(f"a limit of what rounding the bases may change is for {said} float16, int8 or int4")
    if bases is not BasisDtype.FLOAT32 and basis_dtype(stored) is bases:
        raise SpecError(
            f"the bases are {bases.value} already: what rounding them changed cannot be measured. Take the weights "
            f"from before, or leave out {said} and the limits"
        )


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
    known = [{name: outputs[row] for name, outputs in golden.outputs.items()} for row in range(len(members))]
    return _measured(exact, rounded, members, golden.inputs, known.__getitem__, progress)


def measure_probes(exact: Ensemble, rounded: Ensemble, *, progress: Progress = no_progress) -> BasisRounding:
    """The same of the samples that a build would take, where there is no bundle."""
    examples = {name: example.numpy() for name, example in exact.examples.items()}
    inputs = probe_inputs(exact.signature, examples, bounds=whole_numbers(exact)).inputs
    members, reference = list(range(min(exact.members, MEMBERS_MEASURED))), rounded.double()
    return _measured(exact, rounded, members, inputs, lambda row: run_double(reference, members[row], inputs), progress)


def _measured(
    exact: Ensemble,
    rounded: Ensemble,
    members: Sequence[int],
    inputs: Mapping[str, Array],
    known: Callable[[int], Mapping[str, Array]],
    progress: Progress,
) -> BasisRounding:
    """Compare with what is known of the rounded ensemble, by the place of a member."""
    reference, errors, same = exact.double(), list[float](), list[NDArray[np.bool_]]()
    for row, member in enumerate(members):
        outputs, others = run_double(reference, member, inputs), known(row)
        errors += [
            float(row_errors(others[name], array).max()) for name, array in outputs.items() if array.dtype.kind == "f"
        ]
        same += _same_classes(exact.signature.outputs, outputs, others)
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
