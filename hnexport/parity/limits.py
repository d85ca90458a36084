"""What an artifact or its runtime cannot do: known, or found out when it was opened."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FULL", "LARGEST_BATCH", "Limits"]

LARGEST_BATCH = 4096
"""The largest batch of a fixed size that is run: a file can ask for any number of images, and they are allocated."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a loaded artifact.

    Attributes:
        id_bits: width to which it cuts an int64 input: with 32, the id 2**32 reaches the graph as 0, and no graph can
            tell. Loaders must check ids before they call such a runtime.
        keeps_nan: whether its operators pass a NaN on. One whose ReLU turns NaN into 0 gives a NaN image logits that
            are numbers.
        batch_sizes: the only batch sizes that it runs; None where it runs any.
        narrow: `float16` or `bfloat16` where its image or its logits are of that type.
        together: it takes several ids in one call and answers as `ensemble.onnx` does.
        defaults: inputs besides the id and the image, which stay at the value that the file gives them.
    """

    id_bits: int = 64
    keeps_nan: bool = True
    batch_sizes: Sequence[int] | None = None
    narrow: str | None = None
    together: bool = False
    defaults: tuple[str, ...] = ()

    @property
    def least_batch(self) -> int:
        """The smallest batch that it runs."""
        return min(self.batch_sizes) if self.batch_sizes else 1


FULL = Limits()
