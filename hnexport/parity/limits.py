"""What a runtime cannot do, whatever the graph says: known, tested, and written in every report."""

from dataclasses import dataclass

__all__ = ["FULL", "Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a runtime.

    Attributes:
        id_bits: width to which it cuts an int64 input: with 32, the id 2**32 reaches the graph as 0, and no graph can
            tell. Loaders must check ids before they call such a runtime.
        keeps_nan: whether its operators pass a NaN on. One whose ReLU turns NaN into 0 gives a NaN image logits that
            are numbers.
    """

    id_bits: int = 64
    keeps_nan: bool = True


FULL = Limits()
