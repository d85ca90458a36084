"""The one table of tolerances, each with its reason."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hnexport.errors import ParityError
from hnexport.rows import MOST_EXCUSED
from hnexport.spec.precision import Precision

__all__ = [
    "CUDNN_RECURRENT_FLOOR",
    "EAGER_FLOOR",
    "FUNCTIONS_FLOOR",
    "ILL_CONDITIONED",
    "TF32_SHOWS",
    "TOLERANCES",
    "Precision",
    "Tolerance",
    "tolerance_of",
]

# Relative L2 error below which float32 eager's own error is not a yardstick: half a unit in the last place.
EAGER_FLOOR = 2.0**-24

# What every runtime may lose, whatever eager loses by luck: exp, tanh, sigmoid and reciprocal square roots are off by
# up to four units in the last place in one library and right in another. The smallest mistakes cost far more.
FUNCTIONS_FLOOR = 2.0**-22

# The same of cuDNN's recurrent layers, whose sigmoid and tanh are coarser: 7.1e-6 was measured on two layers of eight
# numbers, where onnxruntime's CUDA provider loses 4.2e-7 (one H100, cuDNN 9.19).
CUDNN_RECURRENT_FLOOR = 2.0**-17

# A row of which float32 may lose more than this share of the tolerance by chance is ill-conditioned.
ILL_CONDITIONED = 0.25

# A relative L2 error above this in a run that should be strict float32 says that TF32 was used: TF32 rounds every
# factor to 2^-11 = 5e-4, float32 to 6e-8.
TF32_SHOWS = 5e-5


# Of a row, in the arithmetics of half precision.
_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What an artifact may lose against the float64 reference.

    Attributes:
        relative_l2: for each row of an output, |found - reference| / |reference|.
        multiple_of_eager: the same, as a multiple of what float32 eager PyTorch loses on that member, or may lose by
            chance on that row where that is more.
        row_spread: relative L2 difference of one sample's outputs between batches of different sizes.
        weights: for each tensor of the main network, largest |difference| of an element over the tensor's root mean
            square.
        members: how far the spread of the members' outputs may be from the reference's, as a share of it.
        reason: why it is so much, in words.
        rounding: largest relative error of rounding one number.
        functions: what exp, tanh, sigmoid and the like may lose in a runtime, whatever eager loses by luck.
        excused: a row that may be off by more than this share of itself cannot be judged.
    """

    relative_l2: float
    multiple_of_eager: float
    row_spread: float
    weights: float
    members: float
    reason: str
    rounding: float = 2.0**-24
    functions: float = FUNCTIONS_FLOOR
    excused: float = MOST_EXCUSED


TOLERANCES: Mapping[Precision, Tolerance] = MappingProxyType(
    {
        Precision.FLOAT32: Tolerance(
            relative_l2=1e-5,
            multiple_of_eager=4.0,
            row_spread=1e-5,
            weights=1e-5,
            members=1e-3,
            reason=(
                "Summing a convolution in another order costs a few units in the last place a layer; float32 eager "
                "loses 2e-7 to 2e-6 on 10 to 40 layers. Winograd and blocked kernels lose up to 4 times that. The "
                "smallest mistakes of a layer (an epsilon of 1e-3, float16 rounding of one kernel) cost 1e-4 and "
                "more. A generated weight is a sum of 7 to 14 products, so its error stays below 1e-6 of the "
                "tensor's scale; one element changed by 1 % is 1000 times that."
            ),
        ),
        Precision.TF32: Tolerance(
            relative_l2=1e-2,
            multiple_of_eager=math.inf,
            row_spread=1e-2,
            weights=4e-3,
            members=2e-2,
            rounding=2.0**-11,
            excused=_HALF,
            reason=(
                "TF32 keeps 10 bits of each factor's mantissa (a rounding of 2^-11 = 5e-4) and sums in float32: "
                "independent over a layer's products, so a layer loses about 3e-4 and a network of 10 to 40 layers "
                "1e-3 to 3e-3. Float32 eager is no yardstick for it."
            ),
        ),
        Precision.FLOAT16: Tolerance(
            relative_l2=2e-2,
            multiple_of_eager=math.inf,
            row_spread=2e-2,
            weights=8e-3,
            members=4e-2,
            rounding=2.0**-11,
            excused=_HALF,
            reason=(
                "float16 rounds as TF32 does (2^-11), but stores every activation in it too and has a narrow range: "
                "the residual stream is rounded at each block, and values below 6e-5 lose bits. Twice TF32's."
            ),
        ),
        Precision.BFLOAT16: Tolerance(
            relative_l2=0.1,
            multiple_of_eager=math.inf,
            row_spread=0.1,
            weights=3.2e-2,
            members=0.2,
            rounding=2.0**-8,
            excused=_HALF,
            reason=(
                "bfloat16 keeps 7 bits of mantissa (a rounding of 2^-8 = 4e-3), eight times TF32's: 10 to 40 layers "
                "lose 0.3 % to 3 %. Its range is float32's."
            ),
        ),
    }
)
"""How far results may be off, in each arithmetic."""


def tolerance_of(precision: Precision) -> Tolerance:
    """What an artifact in this arithmetic may lose.

    Raises:
        ParityError: there is no tolerance for it.
    """
    if precision not in TOLERANCES:
        raise ParityError(f"nothing is judged in {precision}: choose a precision among {', '.join(TOLERANCES)}")
    return TOLERANCES[precision]
