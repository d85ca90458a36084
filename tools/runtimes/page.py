"""Two tables in docs/runtimes/index.md: every runtime, and members beside other exports of them."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtimes.judge import LIMIT
from runtimes.runtime import Row
from runtimes.stage import MEMBERS, NETWORK, SPELLED, WEIGHTS_MB


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is written between a pair of markers.

    Attributes:
        name: in the markers.
        head: what stands above the table.
        cells: of a row; none where it has no place in this table.
    """

    name: str
    head: str
    columns: tuple[str, ...]
    cells: Callable[[Row], list[str]]

    @property
    def begin(self) -> str:
        """The marker above."""
        return f"<!-- {self.name}: written by make runtimes -->"

    @property
    def end(self) -> str:
        """The marker below."""
        return f"<!-- {self.name}: end of what make runtimes wrote -->"

    @property
    def text(self) -> str:
        """The head in lines of the page's width."""
        return textwrap.fill(self.head, width=120, break_long_words=False, break_on_hyphens=False)

    def line(self, row: Row) -> str:
        """A row in Markdown, or nothing."""
        cells = self.cells(row)
        return f"| {' | '.join(cells)} |" if cells else ""

    def write(self, page: Path, row: Row, order: list[str]) -> None:
        """Replace the line of this row; the others stay, in the order of the runtimes."""
        text = page.read_text(encoding="utf-8")
        before, rest = text.split(self.begin)
        old, after = rest.split(self.end)
        lines = {name: one for one in old.splitlines() for name in order if _is_of(one, name)}
        lines[row.name] = self.line(row)
        rule = ["---" for _ in self.columns]
        found = [lines[name] for name in order if lines.get(name)]
        table = "\n".join([f"| {' | '.join(self.columns)} |", f"| {' | '.join(rule)} |", *found])
        page.write_text(
            f"{before}{self.begin}\n{self.text}\n\n{table}\n{self.end}{after}", encoding="utf-8", newline="\n"
        )


def _runtime_cells(row: Row) -> list[str]:
    error = "" if row.error is None else f"{row.error:.1e}" if row.error <= LIMIT else f"**{row.error:.1e}**"
    cells = [
        f"{row.name} ({row.remark})" if row.remark else row.name,
        row.version.split("+")[0].split("-")[0],
        row.file,
        row.why if row.error is None else error,
        row.ids,
        row.nan,
        *map(_number, (row.load_ms, row.call_ms, row.plain_ms)),
        row.measured,
    ]
    if row.why and row.error is not None:
        cells[6] = row.why
    return cells


def _member_cells(row: Row) -> list[str]:
    if row.member_ms is None or (row.own_ms is None and row.resident_mb is None):
        return []
    ratio = None if row.own_ms is None else f"{row.member_ms / row.own_ms:.2f}"
    exporter = row.exporter if row.own_ms is not None else ""
    return [
        row.name,
        exporter,
        *map(_number, (row.member_ms, row.own_ms)),
        ratio or "",
        "" if row.resident_mb is None else f"{row.resident_mb:.1f}",
        row.measured,
    ]


RUNTIMES = Table(
    name="runtimes",
    head=f"""`make runtimes` wrote this table: {NETWORK}, {MEMBERS} members, so N is {MEMBERS}; one thread, one image a
call. The error is the largest of an image over all members, against PyTorch in float64. Loading is that of the file,
its libraries already imported. A call of the bundle's file, which makes the member's weights each time (materialised:
the first time), stands beside one of that member's plain network (`hnexport member`) in the same runtime: medians,
taken in turns.""",
    columns=(
        "runtime",
        "version",
        "file",
        "error",
        f"ids {', '.join(SPELLED)}",
        "image with a NaN",
        "load, ms",
        "call, ms",
        "plain, ms",
        "measured, load average",
    ),
    cells=_runtime_cells,
)
MEMBER = Table(
    name="members",
    head=f"""`make runtimes` wrote this table too: a call of a member beside one of the same network
that hnexport had no hand in, a module of PyTorch with the same weights, as the usual exporter makes it for the same
runtime: medians, taken in turns. Memory is what each further member takes that is kept ready; its weights are
{WEIGHTS_MB:.1f} MB of that.""",
    columns=("runtime", "exporter", "member, ms", "exporter's, ms", "ratio", "a member, MB", "measured, load average"),
    cells=_member_cells,
)
TABLES = (RUNTIMES, MEMBER)


def write(page: Path, row: Row, order: list[str]) -> None:
    """Replace what the page says of a runtime."""
    for table in TABLES:
        table.write(page, row, order)


def _number(value: float | None) -> str:
    """Three digits, without an exponent where there are more before the point."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _is_of(one: str, name: str) -> bool:
    return one.startswith((f"| {name} |", f"| {name} ("))
