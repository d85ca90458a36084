"""Golden samples that somebody else wrote may claim any noise, so that anything passes: it is measured again."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.ensemble import Ensemble
from hnexport.errors import ParityError
from hnexport.parity.compare import row_limits
from hnexport.parity.cost import estimated_seconds
from hnexport.parity.reference import UnusableError, reference_of
from hnexport.parity.tolerances import TOLERANCES, Precision
from hnexport.rows import taken
from hnexport.spec import Signature

__all__ = ["AGAIN_SECONDS", "without_excess"]

AGAIN_SECONDS = 10.0
"""About what measuring again may take, by an estimate that is the same on every machine; one member always is."""
_BY_CHANCE = 4.0
"""Other draws, and another machine: a row may have so many times the noise that is found."""

Floats = NDArray[np.float64]


def without_excess(
    golden: Golden, signature: Signature, ensemble: Callable[[], Ensemble | None]
) -> tuple[Golden, bool]:
    """The golden samples with no more noise than the reference has, and whether that is known.

    Samples that are not ill-conditioned stay as they are: they are held to the tolerance, whatever is claimed.

    Args:
        ensemble: what the bundle says that it is; None where its network is not known from data.
    """
    rows = _excused_samples(golden, signature)
    parts = golden.conditions
    if not rows and golden.resized is None and not any(_excused_samples(part, signature) for part in parts):
        return golden, True
    known = ensemble()
    if known is None:
        return golden, False
    try:
        resized = golden.resized
        if resized is not None:
            resized = _bounded(resized, known, list(range(resized.samples)))
        parts = tuple(_bounded(part, known, list(range(part.samples))) for part in parts)
        return dataclasses.replace(_bounded(golden, known, rows), resized=resized, conditions=parts), True
    except (ParityError, UnusableError):
        return golden, False


def _excused_samples(golden: Golden, signature: Signature) -> list[int]:
    """The samples of which a row is judged by noise alone; all of them where it is of an output of all samples."""
    found: set[int] = set()
    for output in signature.outputs:
        noise = golden.noise[output.name]
        ill = noise > 0
        if output.is_floating:
            eager, tolerance = golden.eager[output.name], TOLERANCES[Precision.FLOAT32]
            ill = np.stack([row_limits(*pair, tolerance).ill for pair in zip(eager, noise, strict=True)])
        if ill.any():
            found |= set(np.flatnonzero(ill.any(axis=0)).tolist() if output.has_batch else range(golden.samples))
    return sorted(found)


def _bounded(golden: Golden, ensemble: Ensemble, rows: list[int]) -> Golden:
    """Noise and eager's error of some samples, no larger than what is found.

    Raises:
        ParityError, UnusableError: the reference cannot be computed.
    """
    if not rows:
        return golden
    inputs = taken(ensemble.signature, golden.inputs, rows)
    able = max(1, int(AGAIN_SECONDS / (2 * estimated_seconds(ensemble, 0, inputs))))
    found = reference_of(ensemble, golden.members[:able].tolist(), inputs, [golden.kinds[row] for row in rows])
    most = {
        name: np.maximum(noise, found.eager.get(name, 0.0)) if name in found.eager else noise
        for name, noise in found.noise.items()
    }

    def bounded(claimed: Mapping[str, Floats]) -> dict[str, Floats]:
        new = {name: array.copy() for name, array in claimed.items()}
        for name, array in new.items():
            of_all = array.shape[1] != golden.samples  # one row, of all samples together
            where = [0] if of_all else rows
            limit = np.repeat(most[name].max(axis=0)[None], len(array), axis=0)
            limit[:able] = most[name]
            array[:, where] = np.minimum(array[:, where], _BY_CHANCE * limit)
        return new

    return dataclasses.replace(golden, noise=bounded(golden.noise), eager=bounded(golden.eager))
