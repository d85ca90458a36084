"""Whether an artifact generates its weights from its conditions: from others than those of the samples, and of NaN."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import NotRunError, ParityError
from hnexport.parity.compare import Reference, checked_outputs, compare_member
from hnexport.parity.results import Check
from hnexport.parity.tolerances import Tolerance
from hnexport.rows import taken
from hnexport.spec import Signature

__all__ = ["NAN_CONDITION", "OTHER_CONDITIONS", "check_conditions"]

Array = NDArray[np.generic]
Outputs = Mapping[str, Array]
Run = Callable[[int, Outputs], Outputs]

OTHER_CONDITIONS = "other conditions make other weights"
NAN_CONDITION = "a NaN condition gives NaN"


def check_conditions(
    name: str,
    run: Run,
    signature: Signature,
    golden: Golden,
    tolerance: Tolerance,
    unguarded: tuple[str, ...] = (),
) -> list[Check]:
    """Two checks where the signature has conditions.

    Args:
        run: `(member, inputs) -> outputs` by name.
        unguarded: outputs that do not depend on any weight.
    """
    if not signature.conditions:
        return []
    checks = [_check_others(name, run, signature, golden, tolerance)] if golden.conditions else []
    return [*checks, _check_nan(run, signature, golden, unguarded)]


def _check_others(name: str, run: Run, signature: Signature, golden: Golden, tolerance: Tolerance) -> Check:
    """Each further condition of the golden samples, with each of their members."""
    worst, pairs = 0.0, 0
    for number, part in enumerate(golden.conditions, start=1):
        rows = list(range(part.samples))
        for position, member in enumerate(part.members.tolist()):
            reference = Reference.of(part, position, signature)
            where = f"condition {number}, member {member}"
            try:
                found = checked_outputs(name, signature, run(member, part.inputs), reference.outputs, rows)
            except NotRunError:
                raise
            except ParityError as error:
                return Check(name=OTHER_CONDITIONS, passed=False, detail=f"{where}: {error}")
            compared = compare_member(reference, [rows], [found], tolerance)
            worst, pairs = max(worst, compared.relative_l2), pairs + 1
            if not compared.passed:
                detail = f"{where}: relative L2 error {compared.relative_l2:.1e}"
                return Check(name=OTHER_CONDITIONS, passed=False, detail=detail)
    detail = f"{len(golden.conditions)} of them, {pairs} with their members, relative L2 error at most {worst:.1e}"
    return Check(name=OTHER_CONDITIONS, passed=True, detail=detail)


def _check_nan(run: Run, signature: Signature, golden: Golden, unguarded: tuple[str, ...]) -> Check:
    """One number of each condition that is NaN: every floating-point output is NaN, as of an id that does not exist."""
    member, inputs = int(golden.members[0]), taken(signature, golden.inputs, slice(0, 1))
    for item in signature.of_generator:
        spoilt = np.array(inputs[item.name])
        if not spoilt.size:
            continue
        spoilt.reshape(-1)[-1] = np.nan
        try:
            found = run(member, {**inputs, item.name: spoilt})
        except NotRunError:
            raise
        except Exception as error:  # a runtime's own
            return Check(name=NAN_CONDITION, passed=False, detail=f"{item.name} with a NaN cannot be run: {error}")
        for output in signature.outputs:
            if not output.is_floating or output.name in unguarded:
                continue
            if not np.isnan(np.asarray(found[output.name], dtype=np.float64)).all():
                detail = f"a NaN in {item.name} gives {output.name} that are numbers"
                return Check(name=NAN_CONDITION, passed=False, detail=detail)
    return Check(name=NAN_CONDITION, passed=True, detail="as of an id that does not exist")
