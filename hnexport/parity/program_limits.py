"""What a program was found to be limited to, as data that a confined process can send."""

from dataclasses import dataclass
from typing import Self

from hnexport.parity.limits import Limits

__all__ = ["ProgramLimits"]


@dataclass(frozen=True, kw_only=True)
class ProgramLimits:
    """Of `Limits` what is found out by trying. The others belong to the runtime: no program has a say in them."""

    batch_sizes: tuple[int, ...] | None
    least_batch: int
    narrow: str | None
    together: bool
    defaults: tuple[str, ...]

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """The data of some limits."""
        return cls(
            batch_sizes=limits.batch_sizes,
            least_batch=limits.least_batch,
            narrow=limits.narrow,
            together=limits.together,
            defaults=limits.defaults,
        )

    def limits(self) -> Limits:
        """The limits that this is the data of.

        Raises:
            ValueError: there are no batch sizes, or one is not 1 to `LARGEST_BATCH`.
        """
        return Limits(
            batch_sizes=self.batch_sizes,
            least_batch=self.least_batch,
            narrow=self.narrow,
            together=self.together,
            defaults=self.defaults,
        )
