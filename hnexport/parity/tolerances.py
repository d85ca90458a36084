"""The one table of tolerances, each with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = ["EAGER_FLOOR", "TOLERANCES", "Precision", "Tolerance"]

# Relative L2 error below which float32 eager's own error is not a yardstick: half a unit in the last place.
EAGER_FLOOR = 2.0**-24


class Precision(StrEnum):
    """How an artifact computes."""

    FLOAT32 = "float32"


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What an artifact may lose against the float64 reference.

    Attributes:
        relative_l2: for each row of logits, |logits - reference| / |reference|.
        multiple_of_eager: the same, as a multiple of what float32 eager PyTorch loses on that member.
        row_spread: relative L2 difference of one image's logits between batches of different sizes.
    """

    relative_l2: float
    multiple_of_eager: float
    row_spread: float
    reason: str


TOLERANCES: Mapping[Precision, Tolerance] = MappingProxyType(
    {
        Precision.FLOAT32: Tolerance(
            relative_l2=1e-5,
            multiple_of_eager=4.0,
            row_spread=1e-5,
            reason=(
                "Summing a convolution in another order costs a few units in the last place a layer; float32 eager "
                "loses 2e-7 to 2e-6 on 10 to 40 layers. Winograd and blocked kernels lose up to 4 times that. The "
                "smallest mistakes worth finding (one weight changed by 1 %, an epsilon of 1e-3) cost 1e-4 and more."
            ),
        ),
    }
)
