"""What an artifact or its runtime cannot do: known, or found out when it was opened."""

from dataclasses import dataclass

from hnexport.parity.tolerances import FUNCTIONS_FLOOR
from hnexport.reading import shown

__all__ = ["FULL", "LARGEST_BATCH", "Limits"]

LARGEST_BATCH = 4096
"""The largest batch of a fixed size that is run: a file can ask for any number of samples, and they are allocated."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a loaded artifact.

    Attributes:
        id_bits: width to which it cuts an int64 input: with 32, the id 2**32 reaches the graph as 0, and no graph can
            tell. Loaders must check ids before they call such a runtime.
        keeps_nan: whether its operators pass a NaN on. One whose ReLU turns NaN into 0 gives a NaN sample outputs that
            are numbers. (Of maxima it is asked by itself, see `hnexport.parity.nan_marks`.)
        batch_sizes: the only batch sizes that it runs; None where it runs any from `least_batch`.
        least_batch: the smallest batch that it runs.
        narrow: `float16` or `bfloat16` where an input or output is of that type, and the bundle's is wider.
        together: it takes several ids in one call and answers as `ensemble.onnx` does.
        defaults: inputs besides the id and the network's, which stay at the value that the file gives them.
        unguarded: outputs that no tensor of a member reaches, so that for an id that does not exist they are numbers:
            whoever loads the halves of a bundle must check ids.
        one_member: it is one member by itself, and takes no id.
        functions: what its exp, tanh, sigmoid and the like may lose.

    Raises:
        ValueError: there are no batch sizes, or one is not 1 to `LARGEST_BATCH`.
    """

    id_bits: int = 64
    keeps_nan: bool = True
    batch_sizes: tuple[int, ...] | None = None
    least_batch: int = 1
    narrow: str | None = None
    together: bool = False
    defaults: tuple[str, ...] = ()
    unguarded: tuple[str, ...] = ()
    one_member: bool = False
    functions: float = FUNCTIONS_FLOOR

    def __post_init__(self) -> None:
        able = (self.least_batch,) if self.batch_sizes is None else self.batch_sizes
        if not able or min(able) < 1 or max(able) > LARGEST_BATCH:
            raise ValueError(f"batch sizes must be 1 to {LARGEST_BATCH}, found {shown(able)}")
        object.__setattr__(self, "least_batch", min(able))

    @property
    def runs_any_batch(self) -> bool:
        """Whether there is no batch that it does not run."""
        return self.batch_sizes is None and self.least_batch == 1

    def runs(self, size: int) -> bool:
        """Whether it runs a batch of this size."""
        return size >= self.least_batch if self.batch_sizes is None else size in self.batch_sizes

    def size_for(self, samples: int) -> int:
        """The smallest batch that holds so many samples; the largest where none does."""
        if self.batch_sizes is None:
            return max(samples, self.least_batch)
        return min((one for one in self.batch_sizes if one >= samples), default=max(self.batch_sizes))

    def size_within(self, samples: int) -> int:
        """The largest batch that so many samples fill; the smallest where they fill none."""
        if self.batch_sizes is None:
            return max(samples, self.least_batch)
        return max((one for one in self.batch_sizes if one <= samples), default=self.least_batch)


FULL = Limits()
