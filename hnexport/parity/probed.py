"""What a report says about the samples: which were probed, in what range, and which float32 cannot compute well."""

import numpy as np

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Manifest
from hnexport.names import EXTREME
from hnexport.parity.inputs import PROBE_KINDS
from hnexport.parity.tolerances import EAGER_FLOOR, ILL_CONDITIONED, Tolerance

__all__ = ["ill_conditioned", "left_out", "ranges"]


def ranges(golden: Golden) -> dict[str, tuple[float, float]]:
    """By input the least and the largest number."""
    return {name: (float(array.min()), float(array.max())) for name, array in golden.inputs.items() if array.size}


def left_out(golden: Golden, manifest: Manifest) -> tuple[str, ...]:
    """The kinds of sample that a build probes and that these do not hold: the reference or the precision cannot."""
    batched = [item for item in manifest.signature.inputs if item.has_batch]
    if manifest.schema_version == 1 or not batched:
        return ()
    extreme = (EXTREME,) if any(item.is_floating for item in batched) else ()
    return tuple(kind for kind in (*PROBE_KINDS, *extreme) if kind not in golden.kinds)


def ill_conditioned(golden: Golden, tolerance: Tolerance) -> dict[str, float]:
    """By `output: kind of sample`, what the arithmetic may lose there by chance, where that is much."""
    found = {}
    for name, noise in golden.noise.items():
        worst = noise.max(axis=0) * (tolerance.rounding / EAGER_FLOOR)
        for row in np.flatnonzero(worst > ILL_CONDITIONED * tolerance.relative_l2).tolist():
            kind = golden.kinds[row] if len(worst) == golden.samples else "all samples"
            found[f"{name}: {kind}"] = float(worst[row])
    return found
