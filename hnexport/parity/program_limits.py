"""What a program was found to be limited to, as data that a confined process can send."""

from dataclasses import dataclass
from typing import Self

from hnexport.parity.limits import LARGEST_BATCH, Limits
from hnexport.reading import shown

__all__ = ["ProgramLimits"]


@dataclass(frozen=True, kw_only=True)
class ProgramLimits:
    """`Limits` in JSON's types.

    Attributes:
        sizes: the only batch sizes; None where there is no such limit, or `least` says it.
        least: the smallest batch size, where any larger one is run too.
    """

    sizes: tuple[int, ...] | None
    least: int | None
    narrow: str | None
    together: bool
    defaults: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = (self.least or 1,) if self.sizes is None else self.sizes
        if not sizes or min(sizes) < 1 or max(sizes) > LARGEST_BATCH:
            raise ValueError(f"batch sizes must be 1 to {LARGEST_BATCH}, found {shown(sizes)}")

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """The data of some limits."""
        able = limits.batch_sizes
        return cls(
            sizes=None if able is None or isinstance(able, range) else tuple(able),
            least=able.start if isinstance(able, range) else None,
            narrow=limits.narrow,
            together=limits.together,
            defaults=limits.defaults,
        )

    def limits(self) -> Limits:
        """The limits that this is the data of."""
        return Limits(
            batch_sizes=self.sizes if self.least is None else range(self.least, 2**31),
            narrow=self.narrow,
            together=self.together,
            defaults=self.defaults,
        )
