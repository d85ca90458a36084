"""Which rows can be judged: where float32 may lose much of a row by chance, almost nothing that it gives is wrong."""

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden, some_samples
from hnexport.parity.compare import row_limits
from hnexport.parity.inputs import EXAMPLE
from hnexport.parity.tolerances import Tolerance
from hnexport.rows import NOISE_MULTIPLE
from hnexport.spec import OutputSpec, Signature

__all__ = ["judgeable", "unjudged"]


def judgeable(golden: Golden, signature: Signature, tolerance: Tolerance) -> Golden:
    """Without the samples that cannot be judged, for any member; with them where fewer than half would be left, where
    one is the example, or where an output is of all samples together.
    """
    lost = {
        row
        for output in signature.outputs
        for row in np.flatnonzero((_excused(golden, output, tolerance) > tolerance.excused).any(axis=0)).tolist()
    }
    kept = [row for row in range(golden.samples) if row not in lost]
    whole = not all(output.has_batch for output in signature.outputs)
    if not lost or whole or 2 * len(kept) < golden.samples or any(golden.kinds[row] == EXAMPLE for row in lost):
        return golden
    return some_samples(golden, signature, kept)


def unjudged(golden: Golden, signature: Signature, tolerance: Tolerance) -> dict[str, float]:
    """By `output: kind of sample`, how much of itself a row may be off by, where that is more than can be judged."""
    found = {}
    parts = {"": golden} if golden.resized is None else {"": golden, ", shorter axes": golden.resized}
    parts |= {f", condition {number}": part for number, part in enumerate(golden.conditions, start=1)}
    for where, part in parts.items():
        for output in signature.outputs:
            worst = _excused(part, output, tolerance).max(axis=0)
            for row in np.flatnonzero(worst > tolerance.excused).tolist():
                kind = part.kinds[row] if output.has_batch else "all samples"
                found[f"{output.name}: {kind}{where}"] = float(worst[row])
    return found


def _excused(golden: Golden, output: OutputSpec, tolerance: Tolerance) -> NDArray[np.float64]:
    """`[member, row]`: the share of itself that a row may be off by; of whole numbers one in which all may differ is
    beyond every tolerance.
    """
    noise = golden.noise[output.name]
    if not output.is_floating:
        return np.where(NOISE_MULTIPLE * noise >= 1.0, np.inf, 0.0)
    eager = golden.eager[output.name]
    return np.stack([row_limits(*pair, tolerance).limit for pair in zip(eager, noise, strict=True)])
