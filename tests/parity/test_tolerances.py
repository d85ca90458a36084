"""The table of tolerances."""

import itertools

from hnexport.parity.tolerances import TOLERANCES
from hnexport.spec.precision import Precision

COARSER = (Precision.FLOAT32, Precision.TF32, Precision.FLOAT16, Precision.BFLOAT16)
SHARES = ("relative_l2", "row_spread", "weights", "members", "rounding")


def test_every_limit_is_a_share_and_a_coarser_precision_has_no_smaller_one() -> None:
    for precision, tolerance in TOLERANCES.items():
        assert all(0 < getattr(tolerance, share) < 1 for share in SHARES), precision
        assert tolerance.multiple_of_eager > 1, precision
    for finer, coarser in itertools.pairwise(COARSER):
        for share in SHARES:
            assert getattr(TOLERANCES[finer], share) <= getattr(TOLERANCES[coarser], share), (coarser, share)
