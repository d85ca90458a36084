"""The table in docs/runtimes.md, between two markers."""

from pathlib import Path

from runtimes.judge import LIMIT
from runtimes.runtime import Row
from runtimes.stage import MEMBERS, NETWORK, SPELLED

BEGIN, END = "<!-- written by make runtimes -->", "<!-- end of what make runtimes wrote -->"
HEAD = f"""`make runtimes` wrote this table
({NETWORK}, {MEMBERS} members, so N is {MEMBERS}; one thread, one image a call). The
error is the largest of an image over all members, against PyTorch in float64. A call of the bundle's file, which makes
the member's weights each time, stands beside one of that member's plain network (`hnexport member`) in the same
runtime: medians, taken in turns, at the load of the last column.
"""
COLUMNS = (
    "runtime",
    "version",
    "file",
    "error",
    f"ids {', '.join(SPELLED)}",
    "image with a NaN",
    "load, ms",
    "call, ms",
    "plain, ms",
    "measured",
)


def line(row: Row) -> str:
    """A row in Markdown."""
    name = f"{row.name} ({row.remark})" if row.remark else row.name
    error = "" if row.error is None else f"{row.error:.1e}" if row.error <= LIMIT else f"**{row.error:.1e}**"
    times = ["" if value is None else f"{value:.3g}" for value in (row.load_ms, row.call_ms, row.plain_ms)]
    cells = [
        name,
        row.version.split("+")[0].split("-")[0],
        row.file,
        row.failure if row.error is None else error,
        row.ids,
        row.nan,
        *times,
    ]
    if row.failure and row.error is not None:
        cells[6] = row.failure
    return f"| {' | '.join([*cells, row.measured])} |"


def write(page: Path, rows: list[Row], order: list[str]) -> None:
    """Replace the lines of these rows; the others stay, in the order of the runtimes."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    lines = {name: one for one in old.splitlines() for name in order if _is_of(one, name)}
    lines.update({row.name: line(row) for row in rows})
    head = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join('---' for _ in COLUMNS)} |"]
    table = "\n".join([*head, *(lines[name] for name in order if name in lines)])
    page.write_text(f"{before}{BEGIN}\n{HEAD}\n{table}\n{END}{after}", encoding="utf-8")


def _is_of(one: str, name: str) -> bool:
    return one.startswith((f"| {name} |", f"| {name} ("))
