"""What `hnexport evaluate --out` fits on held-out data, as a manifest has it."""

from dataclasses import dataclass, field

from hnexport.records import SPARSE
from hnexport.spec.precision import Precision

__all__ = ["Anytime", "Temperature"]


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What every graph divides an output of logits by; see `hnexport.evaluate`.

    Attributes:
        output: its name.
        value: a number of the output's dtype.
        rows: how many it was fitted on.
        source: the digest of the bundle that this one was derived from.
    """

    output: str
    value: float
    rows: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Anytime:
    """When members that are asked one after the other are enough, as `until="bundle"` uses it.

    Chosen by `hnexport.evaluate.stopping.choose`, which says what is stated and how it is judged.

    Attributes:
        order: every member once, in the order in which they are asked.
        confidence: the mean probability of a class at which a row stops.
        least: members that are asked in any case.
        precision: the arithmetic whose answers it was chosen on.
        members: that a row took there, mean.
        rows: how many it was chosen on.
        level: probability with which each stated loss holds.
        max_accuracy_drop, max_changed, max_ece_rise: what was stated; None, and not written, where nothing was.
        source: the digest of the bundle that this one was derived from.
    """

    order: tuple[int, ...]
    confidence: float
    least: int
    precision: Precision
    members: float
    rows: int
    level: float
    source: str
    max_accuracy_drop: float | None = field(default=None, metadata=SPARSE)
    max_changed: float | None = field(default=None, metadata=SPARSE)
    max_ece_rise: float | None = field(default=None, metadata=SPARSE)

    @property
    def stated(self) -> dict[str, float]:
        """What was stated, by name."""
        given = {name: getattr(self, name) for name in ("max_accuracy_drop", "max_changed", "max_ece_rise")}
        return {name: value for name, value in given.items() if value is not None}
