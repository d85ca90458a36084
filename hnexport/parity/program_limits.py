"""What a program was found to be limited to, as data that a confined process can send."""

from dataclasses import dataclass
from typing import Self

from hnexport.parity.limits import Limits

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
        wrong = (self.sizes is not None and (not self.sizes or min(self.sizes) < 1)) or (self.least or 1) < 1
        if wrong:
            raise ValueError(f"batch sizes must be at least 1, found {self.sizes or self.least}")

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
