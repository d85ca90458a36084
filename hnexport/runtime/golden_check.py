"""The golden sample at load: does this machine compute what PyTorch computed when the bundle was built?"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import BundleError
from hnexport.runtime.options import Check, Precision

__all__ = ["LOAD_TOLERANCES", "LoadTolerance", "check_golden"]


@dataclass(frozen=True, kw_only=True)
class LoadTolerance:
    """What a row of logits may lose at load: |logits - reference| / |reference|."""

    relative_l2: float
    reason: str


LOAD_TOLERANCES = MappingProxyType(
    {
        Precision.FLOAT32: LoadTolerance(
            relative_l2=4e-5,
            reason=(
                "Four times the 1e-5 that a bundle is held to when it is built, since another processor sums in "
                "another order; TF32 and bfloat16 cost 1e-3 and more, wrong weights 1e-4 and more."
            ),
        ),
        Precision.TF32: LoadTolerance(
            relative_l2=1e-2,
            reason="10 bits of mantissa, 5e-4 a factor, sums in float32; 10 to 40 layers of them lose 0.1 % to 0.3 %.",
        ),
        Precision.FLOAT16: LoadTolerance(
            relative_l2=2e-2,
            reason="Rounds as TF32 does, and stores every activation in it too, with a narrow range: twice TF32's.",
        ),
        Precision.BFLOAT16: LoadTolerance(
            relative_l2=0.1,
            reason="8 bits of mantissa, 4e-3 a rounding; 10 to 40 layers of them lose 0.3 % to 3 %.",
        ),
    }
)


def check_golden(
    golden: Golden,
    predict: Callable[[int, NDArray[Any]], NDArray[np.float32]],
    check: Check,
    precision: Precision,
    folder: Path,
) -> None:
    """Compare predictions with the golden sample: one image of one member, or everything.

    Raises:
        BundleError: a row is outside the tolerance; the message names member and image and says what to do.
    """
    if check is Check.NONE:
        return
    tolerance = LOAD_TOLERANCES[precision]
    some = slice(None) if check is Check.ALL else slice(0, 1)
    for row, member in enumerate(golden.members[some]):
        logits = predict(int(member), golden.images[some])
        reference = golden.logits[row, some]
        error = _relative_l2(logits, reference)
        failed = np.flatnonzero(~(error <= tolerance.relative_l2))  # NaN fails
        if failed.size:
            image = int(failed[0])
            raise BundleError(
                f"{folder}: member {member} does not compute what it computed when the bundle was built: image {image} "
                f"({golden.kinds[image]}) is off by {error[image]:.1e} (relative L2), "
                f"allowed {tolerance.relative_l2:.1e}. "
                "Load with provider='cpu', or with the onnxruntime of the manifest's versions; if that fails too, "
                "build the bundle again"
            )


def _relative_l2(logits: NDArray[np.floating], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    difference = np.linalg.norm(logits.astype(np.float64) - reference, axis=-1)
    return np.asarray(difference / np.maximum(np.linalg.norm(reference, axis=-1), np.finfo(np.float64).tiny))
