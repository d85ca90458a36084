"""One step for each value on the way from inputs to outputs, and one for each output."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.parity.locate.steps import Kind, Step
from hnexport.parity.trace.points import Point
from hnexport.rows import row_errors
from hnexport.spec import OutputKind, OutputSpec

__all__ = ["layer_steps", "output_error", "output_steps", "value_error"]

Array = NDArray[np.generic]


def layer_steps(points: Sequence[Point], values: Sequence[Array], limit: float) -> tuple[Step, ...]:
    """One step for each point of the reference.

    A point is matched if anything in the artifact equals it. One that is matched by nothing is forgiven if something
    that depends on it is matched, since then an optimiser fused it away.
    """
    by_shape: dict[tuple[int, ...], list[Array]] = {}
    for value in values:
        by_shape.setdefault(value.shape, []).append(value)
    errors = [
        min((value_error(value, point.value) for value in by_shape.get(point.value.shape, ())), default=float("inf"))
        for point in points
    ]
    forgiven = [error <= limit for error in errors]
    for number in reversed(range(len(points))):  # what a matched point depends on is right
        if forgiven[number]:
            for source in points[number].inputs:
                forgiven[source] = True
    return tuple(
        Step(
            kind=Kind.LAYER,
            place=point.place,
            error=error,
            passed=passed,
            detail=point.operation if error <= limit or not passed else "fused with what follows",
        )
        for point, error, passed in zip(points, errors, forgiven, strict=True)
    )


def output_steps(
    outputs: Sequence[OutputSpec], found: Mapping[str, Array], reference: Mapping[str, Array], limit: float
) -> tuple[Step, ...]:
    """One step for each output of the network, those that are not floating-point last."""
    steps: list[Step] = []
    for output in sorted(outputs, key=lambda output: not output.is_floating):
        error = output_error(output, found[output.name], reference[output.name])
        kind = Kind.LOGITS if output.kind is OutputKind.LOGITS else Kind.VALUE
        passed, detail = error <= limit, ""
        if not output.is_floating and error > 0:
            passed, detail = False, "of what is not floating-point the share of elements that differ"
            if error < 1 and steps and all(step.passed for step in steps):
                detail += "; float32 may choose otherwise between nearly equal numbers"
        steps.append(Step(kind=kind, place=output.name, error=error, passed=passed, detail=detail))
    return tuple(steps)


def output_error(output: OutputSpec, found: Array, reference: Array) -> float:
    """Largest relative L2 error of a row; of what is not floating-point the share of elements that differ."""
    if found.shape != reference.shape:
        return float("inf")
    if not output.is_floating:
        return float(np.mean(found != reference)) if reference.size else 0.0
    if not reference.size:
        return 0.0
    leading = 1 if output.has_batch else 0
    if not reference.ndim:
        found, reference = found.reshape(1), reference.reshape(1)
    return float(np.max(row_errors(found, reference, leading)))


def value_error(value: Array, reference: Array) -> float:
    """Largest relative L2 error of a share of the value along its first axis; infinite where the shapes differ.

    Equal infinities (of a mask, say) are without error. A share that is small beside the others, down to nothing, is
    measured against a thousandth of the whole.
    """
    if value.shape != reference.shape:
        return float("inf")
    rows = len(reference) if reference.ndim else 1
    found, known = (array.reshape(rows, -1).astype(np.float64) for array in (value, reference))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(found == known, 0.0, found - known)
    norms = np.linalg.norm(np.where(np.isfinite(known), known, 0.0), axis=-1)
    floor = max(1e-3 * float(np.sqrt(np.mean(norms**2))), float(np.finfo(np.float64).tiny))
    with np.errstate(over="ignore"):
        error = np.linalg.norm(difference, axis=-1) / np.maximum(norms, floor)
    return float(np.where(np.isfinite(error), error, np.inf).max())
