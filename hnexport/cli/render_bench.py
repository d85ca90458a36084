"""What `bench` found, as tables."""

from typing import TYPE_CHECKING

from hnexport.cli.render import Column, Table, megabytes, say, show_table
from hnexport.text import number_of

if TYPE_CHECKING:
    from hnexport.bench.results import BenchReport, ContenderResult, Timing

__all__ = ["print_bench"]


def print_bench(report: "BenchReport", *, wide: bool = False) -> None:
    """Times and ratios, what each process takes, and what did not run."""
    from hnexport.parity.not_run import grouped

    show_table(_times(report), wide=wide)
    if any(map(_has_runs, report.contenders)):
        show_table(_runs(report), wide=wide)
    show_table(_costs(report), wide=wide)
    for remark in grouped(report.not_run):
        say(f"not run: {remark}")


def _times(report: "BenchReport") -> Table:
    where = f"{report.bundle}, {report.provider}, {report.precision}, {number_of(report.threads, 'thread')}"
    columns: list[Column] = [Column("contender", wrap=True, least=30)]
    cells: list[list[str]] = [[contender.name] for contender in report.contenders]
    for position, size in enumerate(report.batch_sizes):
        columns.append(Column(f"batch {size}", right=True, wrap=True, least=9))
        columns.append(Column("p95", right=True, rank=1))
        columns.append(Column("quartiles", right=True, rank=2))
        for row, contender in zip(cells, report.contenders, strict=True):
            timing = contender.timings[position]
            low, high = timing.ratio_quartiles
            middle = f"{timing.median_ms:.1f} {timing.ratio:.2f}x"
            row.extend((middle, f"{timing.p95_ms:.1f}", f"[{low:.2f}, {high:.2f}]"))
    title = f"{where}: median ms and ratio to plain; 95th percentile and the ratio's quartiles where there is room"
    return Table(title=title, columns=tuple(columns), rows=cells)


def _has_runs(contender: "ContenderResult") -> bool:
    return any(one.openvino_plain_runs is not None or one.plain_runs != one.ratio for one in contender.timings)


def _runs(report: "BenchReport") -> Table:
    """What a call costs in runs of one plain network, where that is another number than the ratio."""
    shown = [contender for contender in report.contenders if _has_runs(contender)]
    columns = [Column("contender", wrap=True, least=30)]
    columns += [Column(f"batch {size}", right=True, wrap=True, least=9) for size in report.batch_sizes]
    rows = [[contender.name, *map(_in_runs, contender.timings)] for contender in shown]
    title = "a call in runs of one plain network"
    if any(one.openvino_plain_runs is not None for contender in shown for one in contender.timings):
        title += ", in brackets in runs of openvino-plain"
    if any(one.members_used is not None for contender in shown for one in contender.timings):
        title += f"; members that a sample took until {report.until}, {report.samples or 'of numbers that were drawn'}"
    return Table(title=title, columns=tuple(columns), rows=rows)


def _in_runs(timing: "Timing") -> str:
    parts = [f"{timing.plain_runs:.2f}"]
    if timing.openvino_plain_runs is not None:
        parts.append(f"({timing.openvino_plain_runs:.2f})")
    if timing.members_used is not None:
        parts.append(f"{timing.members_used:.2f} members")
    return " ".join(parts)


def _costs(report: "BenchReport") -> Table:
    columns = (
        Column("contender", wrap=True, least=30),
        Column("runtime", wrap=True, rank=1),
        Column("load", right=True),
        Column("resident", right=True),
        Column("peak", right=True, rank=2),
        Column("libraries\nalone", right=True, rank=3),
        Column("on disk", right=True),
    )
    rows = [
        (
            contender.name,
            contender.runtime,
            f"{contender.load_seconds:.2f} s",
            megabytes(contender.resident_bytes),
            megabytes(contender.peak_bytes),
            megabytes(contender.baseline_bytes),
            megabytes(contender.disk_bytes),
        )
        for contender in report.contenders
    ]
    return Table(title="memory of each process, and files", columns=columns, rows=rows)
