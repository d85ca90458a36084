"""A chart of a benchmark: times relative to the plain network, one panel a batch size."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hnexport.bench.results import BenchReport, Timing
from hnexport.errors import BenchError
from hnexport.publishing import Contents, Rules, check_place, staged_file
from hnexport.spelling import spelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_chart_target", "write_chart"]

OURS = (
    "materialised",
    "folded",
    "folded-resident",
    "generated",
    "openvino-materialised",
    "openvino-materialised-bfloat16",
)


def check_chart_target(path: Path, *, force: bool) -> None:
    """Refuse before the work what `write_chart` would refuse after it.

    Raises:
        BenchError: the file name has another ending, or there is a file already and `force` is not set.
    """
    if path.suffix not in (".svg", ".png"):
        raise BenchError(f"{path.name}: name the chart .svg or .png")
    check_place(path, _rules(force=force), make_parent=False)


def write_chart(report: BenchReport, path: Path, *, force: bool = False) -> None:
    """Write an SVG or PNG, as the file name says. Bars are medians, whiskers quartiles of the ratios.

    Args:
        force: replace a file that is already there.

    Raises:
        BenchError: matplotlib is not installed, the file name has another ending, or there is a file already.
    """
    check_chart_target(path, force=force)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BenchError("charts need matplotlib: pip install 'hnexport[plot]'") from error
    names = [contender.name for contender in report.contenders]
    panels = len(report.batch_sizes)
    figure = Figure(figsize=(2.2 + 2.6 * panels, 1.1 + 0.28 * len(names)), layout="constrained")
    columns = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for position, (axes, batch_size) in enumerate(zip(columns, report.batch_sizes, strict=True)):
        timings = [contender.timings[position] for contender in report.contenders]
        _draw_panel(axes, names, timings)
        axes.set_title(f"batch {batch_size}", fontsize=9, loc="left")
    columns[0].invert_yaxis()
    processor, threads = report.environment.get("processor", "unknown processor"), report.threads
    figure.suptitle(f"{report.bundle} on {processor}, {threads} threads, {report.provider}", fontsize=10)
    figure.supxlabel("time relative to the plain network, with quartiles: lower is better", fontsize=8)
    with staged_file(path, _rules(force=force)) as new:
        figure.savefig(new, dpi=150)


def _rules(*, force: bool) -> Rules:
    return Rules(replaces=_any_file if force else None, error=BenchError, called=_called(), what="chart")


def _called() -> str:
    return spelled("path", "--chart")


def _any_file(path: Path) -> Contents:
    if not path.is_file():
        raise BenchError(f"{path} exists and is not a file: choose another {_called()}")
    return Contents()


def _draw_panel(axes: "Axes", names: Sequence[str], timings: Sequence[Timing]) -> None:
    """One batch size: a bar for each contender, those that are ours in blue."""
    ratios = [timing.ratio for timing in timings]
    spread = [
        [timing.ratio - timing.ratio_quartiles[0] for timing in timings],
        [timing.ratio_quartiles[1] - timing.ratio for timing in timings],
    ]
    colours = ["#374151" if name == "plain" else "#3b82f6" if name in OURS else "#9ca3af" for name in names]
    axes.barh(names, ratios, 0.7, xerr=spread, color=colours, error_kw={"linewidth": 0.8, "ecolor": "#111827"})
    for row, timing in enumerate(timings):
        label = f"{timing.ratio:.2f}x  {timing.median_ms:.0f} ms"
        axes.annotate(
            label,
            (timing.ratio_quartiles[1], row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    axes.axvline(1.0, color="#374151", linewidth=0.7, linestyle=":")
    axes.set_xlim(0, 1.55 * max(timing.ratio_quartiles[1] for timing in timings))
    axes.tick_params(labelsize=8, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
