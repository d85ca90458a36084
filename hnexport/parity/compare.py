"""Numerical comparison of logits with the reference, row by row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.parity.results import Comparison
from hnexport.parity.tolerances import EAGER_FLOOR, Tolerance
from hnexport.rows import relative_l2

__all__ = ["compare_member", "spread"]

Logits = NDArray[np.float64]


def spread(logits: NDArray[np.generic]) -> float:
    """Root mean square distance of the members' logits `[member, …]` from their mean."""
    values = logits.astype(np.float64)
    return float(np.sqrt(((values - values.mean(axis=0)) ** 2).mean()))


def compare_member(
    member: int,
    rows: Sequence[NDArray[np.generic]],
    references: Sequence[Logits],
    eager_error: float,
    tolerance: Tolerance,
) -> Comparison:
    """Compare one member's logits, batch by batch, with the reference.

    Args:
        rows: logits `[batch, class]` of each batch.
        references: the reference of each batch, of the same shapes.
        eager_error: float32 eager's relative L2 error on this member.
    """
    logits, reference = np.concatenate(rows).astype(np.float64), np.concatenate(references)
    worst = float(relative_l2(logits, reference).max())
    multiple = worst / max(eager_error, EAGER_FLOOR)
    difference = np.abs(logits - reference)
    return Comparison(
        member=member,
        worst_absolute=float(difference.max()) if np.isfinite(difference).all() else np.inf,
        relative_l2=worst,
        multiple_of_eager=multiple,
        margin=_margin(difference, reference),
        top1_agreement=float((logits.argmax(axis=-1) == reference.argmax(axis=-1)).mean()),
        passed=worst <= tolerance.relative_l2 and multiple <= tolerance.multiple_of_eager,
    )


def _margin(difference: Logits, reference: Logits) -> float:
    """Smallest distance of a row's two largest logits, as a multiple of the row's largest absolute difference."""
    if reference.shape[-1] < 2:
        return float("inf")
    highest = np.sort(reference, axis=-1)
    gap = highest[:, -1] - highest[:, -2]
    worst = difference.max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(worst > 0, gap / worst, np.inf)
    return float(np.where(np.isnan(ratio), 0.0, ratio).min())
