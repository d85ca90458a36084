"""How a network is made in int8."""

from dataclasses import dataclass, field

from hnexport.evaluate.targets import ReadOptions
from hnexport.quantise.calibrate import Method
from hnexport.quantise.cost import Budget
from hnexport.quantise.plan import LEAST_DECIBELS
from hnexport.runtime.validation import require_count
from hnexport.spelling import spelled

__all__ = ["Int8Options"]


@dataclass(frozen=True, kw_only=True)
class Int8Options:
    """How a network is made in int8.

    Attributes:
        reading: how the samples are read.
        samples: how many calibrate; the others judge.
        method: how ranges are chosen.
        least_decibels: layers that alone lose more stay in float32.
        budget: what it may cost at most.
    """

    reading: ReadOptions = field(default_factory=ReadOptions)
    samples: int = 256
    method: Method = Method.MINMAX
    least_decibels: float = LEAST_DECIBELS
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            RuntimeInputError: `samples` is no count.
        """
        require_count(spelled("samples", "--samples"), self.samples)
