"""Where samples come from: any part of them can be read, row by row, and what cannot be read is said of its row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from hnexport.images import AppliedNormalisation

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Row", "Source", "as_text"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One sample.

    Attributes:
        id: what the source calls it.
        inputs: `[1, …]` each by name, as the network takes them; None where it cannot be read.
        error: why not.
    """

    id: Any
    inputs: Mapping[str, NDArray[Any]] | None = None
    error: str = ""


class Source(Protocol):
    """Rows in their order.

    Attributes:
        kind: "folder", "npy", "parquet" or "arrow".
        rows: how many.
        fingerprint: of what is there: another one where files were added, removed or written to.
        identifier: the column with the ids; "" where the source has none.
        normalised: how pictures are; None where there are none.
    """

    kind: str
    rows: int
    fingerprint: str
    identifier: str
    normalised: AppliedNormalisation | None

    @property
    def id_type(self) -> "pyarrow.DataType":
        """Of the ids, as a column."""
        ...

    def check(self) -> None:
        """Refuse a file that was replaced or written to since the fingerprint was taken: rows of two would be mixed.

        Of a folder each file is a row of its own.

        Raises:
            RuntimeInputError: it was.
        """
        ...

    def read(self, start: int, stop: int) -> Iterator[Row]:
        """The rows from `start` to before `stop`. Reading on where the last call ended costs least.

        Raises:
            RuntimeInputError: the source itself cannot be read.
        """
        ...


def as_text(text: str) -> str:
    """Text that can be written down: names of files need not be, and messages name them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
