"""One way to show a table: what decides is always whole, the rest appears where there is room.

Say what the columns are, in the order in which they are read, and give the rows as text:

    show_table(
        Table(
            title="files",
            columns=(Column("file"), Column("size", right=True), Column("SHA-256", rank=1)),
            rows=(("model.onnx", "1.6 MB", "0e3d6e90f10f7cfc"),),
        )
    )

A column of rank 0 is essential. Where the lines (`output.width()`) are too short for all columns, those of the highest
rank go first; where the essential ones are still too wide, those with `wrap` are folded; where even that does not do,
each row becomes a block of `name: value` lines. Nothing is ever cut. `wide=True` shows every column, however long the
lines become. Cells are text and nothing else: brackets, markup and `:codes:` come out as they are. `Styled` gives a
cell a colour.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hnexport.cli import output

__all__ = ["Column", "Styled", "Table", "show_table"]

_BETWEEN, _EDGES = 3, 1  # columns of a line that the frame takes: for each cell, and once
_LITTLE = 12  # characters that a column is given before longer ones share what is left
_LONG_WORD = 24


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: its heading; line feeds are kept.
        right: whether its cells end at the right, as numbers do.
        rank: 0 where it is essential; the others go in the order of their rank, the highest first.
        wrap: whether its cells may be folded where lines are short.
        least: characters below which it is not folded.
        folded_title: whether its heading may be folded too; `least` is then that of its cells.
    """

    title: str
    right: bool = False
    rank: int = 0
    wrap: bool = False
    least: int = 12
    folded_title: bool = False


@dataclass(frozen=True)
class Styled:
    """A cell with a style of `rich`, for instance "bold red"."""

    text: str
    style: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows of text.

    Attributes:
        rules: rows above which a line is drawn.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str | Styled]]
    title: str = ""
    rules: frozenset[int] = frozenset()


def show_table(table: Table, *, wide: bool = False) -> None:
    """Print a table on standard output, as wide as `output.width()` allows, or with `wide` as wide as it is."""
    shown = _shown(table)
    if table.title:
        output.say(table.title)
    chosen = _chosen(shown, output.width(), wide=wide)
    if not chosen:
        output.emit(_blocks(shown))
        return
    output.emit(_framed(shown, chosen))


def _shown(table: Table) -> Table:
    """The table in characters that standard output has: what is measured is what appears."""
    rows = tuple(
        tuple(
            replace(cell, text=output.shown(cell.text)) if isinstance(cell, Styled) else output.shown(cell)
            for cell in row
        )
        for row in table.rows
    )
    titles = ("\n".join(map(output.shown, column.title.split("\n"))) for column in table.columns)
    columns = tuple(replace(column, title=title) for column, title in zip(table.columns, titles, strict=True))
    return replace(table, columns=columns, rows=rows)


def _chosen(table: Table, room: int, *, wide: bool) -> dict[int, int]:
    """Which columns to show, and how wide each is; none where not even the essential ones fit."""
    natural = {i: _natural(table, i) for i in range(len(table.columns))}
    if wide:
        return natural
    for rank in sorted({column.rank for column in table.columns}, reverse=True):
        kept = [i for i, column in enumerate(table.columns) if column.rank <= rank]
        widths = {i: natural[i] if table.columns[i].rank == 0 else _least(table, natural, i) for i in kept}
        if _total(widths) <= room:
            return _grown(widths, natural, room)
    kept = [i for i, column in enumerate(table.columns) if column.rank == 0]
    widths = {i: _least(table, natural, i) for i in kept}
    return _grown(widths, natural, room) if _total(widths) <= room else {}


def _natural(table: Table, column: int) -> int:
    cells = [*table.columns[column].title.split("\n"), *(_text(row[column]) for row in table.rows)]
    return max(map(cell_len, cells))


def _least(table: Table, natural: dict[int, int], column: int) -> int:
    """How narrow a column may become: its heading stays whole, and so do its words, unless they are long."""
    wanted = table.columns[column]
    if not wanted.wrap:
        return natural[column]
    title = 0 if wanted.folded_title else max(map(cell_len, wanted.title.split("\n")))
    words = [cell_len(word) for row in table.rows for word in _text(row[column]).split()]
    word = max((size for size in words if size <= _LONG_WORD), default=0)
    return min(natural[column], max(wanted.least, title, word))


def _grown(widths: dict[int, int], natural: dict[int, int], room: int) -> dict[int, int]:
    """Give the folded columns what room is left: whole ones for what lacks little, then to the one that lacks most."""
    widths = dict(widths)
    for i in sorted(widths, key=lambda i: natural[i] - widths[i]):
        lack = natural[i] - widths[i]
        if lack <= min(_LITTLE, room - _total(widths)):
            widths[i] += lack
    for _ in range(room - _total(widths)):
        lacking = max(widths, key=lambda i: natural[i] - widths[i])
        if natural[lacking] == widths[lacking]:
            break
        widths[lacking] += 1
    return widths


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _BETWEEN * len(widths) + _EDGES


def _text(cell: str | Styled) -> str:
    return cell.text if isinstance(cell, Styled) else cell


def _rich(cell: str | Styled) -> Text:
    return Text(cell.text, style=cell.style) if isinstance(cell, Styled) else Text(cell)


def _framed(table: Table, widths: dict[int, int]) -> str:
    framed = RichTable(box=_frame(), show_header=any(column.title for column in table.columns))
    for i, size in widths.items():
        column = table.columns[i]
        framed.add_column(Text(column.title), justify="right" if column.right else "left", width=size, overflow="fold")
    for number, row in enumerate(table.rows):
        if number in table.rules and number:
            framed.add_section()
        framed.add_row(*(_rich(row[i]) for i in widths))
    console = Console(
        file=io.StringIO(),
        width=_total(widths),
        force_terminal=output.is_terminal(),
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(framed)
    return captured.get()


def _frame() -> box.Box:
    """Lines where the encoding has them, otherwise their like in ASCII."""
    frame = box.HEAVY_HEAD
    return frame if output.shown(_LINES) == _LINES else box.ASCII2


_LINES = "┏━┳┓┃┡╇┩│├─┼┤└┴┘"


def _blocks(table: Table) -> str:
    """Every essential cell that is not empty on a line of its own, a block for each row."""
    essential = [i for i, column in enumerate(table.columns) if column.rank == 0]
    blocks = []
    for row in table.rows:
        names = [" ".join(table.columns[i].title.split()) for i in essential]
        lines = [
            f"{name}: {_text(row[i])}" if name else _text(row[i])
            for name, i in zip(names, essential, strict=True)
            if _text(row[i])
        ]
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join([*blocks, ""])
