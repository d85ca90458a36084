"""Tables keep whole what decides, at every width."""

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from hnexport.cli.tables import Column, Styled, Table, show_table

NAMES = ("artifact", "runtime", "members", "error", "worst", "margin", "verdict")
COLUMNS = (
    Column("artifact", wrap=True, least=20),
    Column("runtime", wrap=True),
    Column("members", right=True),
    Column("error\n≤1e-05", right=True),
    Column("worst", right=True, rank=1),
    Column("margin", right=True, rank=2),
    Column("verdict"),
)
ROWS = (
    ("onnx", "onnxruntime 1.31.1 cpu", "10", "8.1e-07", "3", "8e+02", Styled("same", "green")),
    ("torchscript-ensemble", "torch 2.13.0+cu130 cuda", "10", "4.6e-07", "4", "6e+02", Styled("DIFFERENT", "bold")),
)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a table looks like with so many columns."""

    def show(table: object, width: int, **options: Any) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        show_table(table, **options)
        return capsys.readouterr().out

    return show


def squeezed(text: str) -> str:
    return re.sub(r"[\s│┃|]", "", text)


@pytest.mark.parametrize("width", range(20, 161, 5))
def test_no_line_is_longer_than_the_terminal_and_nothing_is_cut(at: Callable[..., str], width: int) -> None:
    shown = at(Table(columns=COLUMNS, rows=ROWS), width)
    framed = shown.startswith("┏")
    assert "…" not in shown
    for row in ROWS:
        for column in (0, 2, 3, 6):
            cell = row[column]
            assert (cell if isinstance(cell, str) else cell.text) in shown
        assert all(word in shown for word in row[1].split())
    if framed:
        assert max(map(len, shown.splitlines())) <= width
    else:
        assert width < 80
        assert shown.startswith("artifact: onnx\nruntime: onnxruntime 1.31.1 cpu\nmembers: 10\nerror ≤1e-05: 8.1e-07\n")


def test_columns_go_in_the_order_of_their_rank(at: Callable[..., str]) -> None:
    table = Table(columns=COLUMNS, rows=ROWS)
    full = at(table, 160)
    assert "worst" in full
    assert "margin" in full
    width = max(map(len, full.splitlines()))
    less = at(table, width - 1)
    assert "worst" in less
    assert "margin" not in less
    assert "worst" not in at(table, 80)


def test_wide_shows_every_column_however_short_the_lines(at: Callable[..., str]) -> None:
    assert at(Table(columns=COLUMNS, rows=ROWS), 40, wide=True) == at(Table(columns=COLUMNS, rows=ROWS), 300)


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_a_very_long_name_is_folded_and_whole(at: Callable[..., str], width: int) -> None:
    random.seed(0)
    name = "".join(random.choices("abcdefghij-", k=300))
    shown = at(Table(columns=COLUMNS, rows=((name, *ROWS[0][1:]),)), width)
    column = "".join(line.split("│")[1].strip() for line in shown.splitlines() if "│" in line) or squeezed(shown)
    assert name in column


def test_cells_are_text_and_nothing_else(at: Callable[..., str]) -> None:
    table = Table(
        title="[bold]title[/] :warning:",
        columns=(Column("[red]name[/red]"), Column("value")),
        rows=(("[link=x]a[/]", ":smile: \x1b[31m\u202e"), ("[/]", "a\tb\nc")),
    )
    for width in (20, 120):
        shown = at(table, width)
        for text in (
            "[bold]title[/] :warning:",
            "[red]name[/red]",
            "[link=x]a[/]",
            r":smile: \x1b[31m\u202e",
            r"a\tb\nc",
        ):
            assert text in shown
        assert "\x1b" not in shown


def test_wide_characters_are_counted_as_wide(at: Callable[..., str]) -> None:
    shown = at(Table(columns=(Column("a"), Column("b")), rows=(("中文", "x"), ("ab", "x"))), 80)
    assert "│ 中文 │ x │" in shown
    assert "│ ab   │ x │" in shown


def test_a_table_without_rows_is_its_heading(at: Callable[..., str]) -> None:
    assert "artifact" in at(Table(columns=COLUMNS, rows=()), 80)


def test_where_only_blocks_fit_an_empty_cell_takes_no_line(at: Callable[..., str]) -> None:
    table = Table(columns=(Column("what"), Column("remedy"), Column("why")), rows=[("cache" * 5, "", "it is full")])
    assert at(table, 20) == f"what: {'cache' * 5}\nwhy: it is full\n\n"


def test_small_files_do_not_read_as_nothing() -> None:
    from hnexport.cli.render import megabytes

    assert [megabytes(size) for size in (150_600_000, 100_000, 13_514, 0)] == [
        "150.6 MB",
        "0.1 MB",
        "13.5 kB",
        "0.0 MB",
    ]
