"""What an evaluation found, as a card shows it: `hnexport.evaluate` makes it of its own records."""

from dataclasses import dataclass

__all__ = ["Measured", "Score", "Table"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number for the card's metadata.

    Attributes:
        metric: as model hubs call it.
        name: for people.
    """

    metric: str
    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of plain text under columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One evaluation.

    Attributes:
        data: what the data are called, without the folders that they lie in.
        output: the output that was evaluated.
        tables: what was found.
        remarks: sentences of plain text that follow the tables.
        scores: of the ensemble, for the metadata; none where the data are those that something was fitted on.
    """

    data: str
    samples: int
    output: str
    tables: tuple[Table, ...]
    remarks: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
