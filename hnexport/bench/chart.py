"""A chart of a benchmark: times relative to the plain network, one group of bars a batch size."""

from pathlib import Path

from hnexport.bench.results import BenchReport
from hnexport.errors import BenchError

__all__ = ["write_chart"]


def write_chart(report: BenchReport, path: Path) -> None:
    """Write an SVG or PNG, as the file name says. Bars are medians, whiskers quartiles of the ratios.

    Raises:
        BenchError: matplotlib is not installed, or the file name has another ending.
    """
    if path.suffix not in (".svg", ".png"):
        raise BenchError(f"{path.name}: name the chart .svg or .png")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BenchError("charts need matplotlib: install hnexport[plot]") from error
    figure = Figure(figsize=(8, 0.9 + 0.28 * len(report.contenders) * len(report.batch_sizes)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(report.contenders)
    for number, contender in enumerate(report.contenders):
        ratios = [timing.ratio for timing in contender.timings]
        spread = [
            [timing.ratio - timing.ratio_quartiles[0] for timing in contender.timings],
            [timing.ratio_quartiles[1] - timing.ratio for timing in contender.timings],
        ]
        places = [group + number * height for group in range(len(ratios))]
        bars = axes.barh(places, ratios, height * 0.9, xerr=spread, label=contender.name, error_kw={"linewidth": 0.8})
        labels = [f"{timing.ratio:.2f}x, {timing.median_ms:.0f} ms" for timing in contender.timings]
        axes.bar_label(bars, labels, padding=6, fontsize=7)
    axes.axvline(1.0, color="black", linewidth=0.8)
    centre = 0.4 - height / 2
    axes.set_yticks([group + centre for group in range(len(report.batch_sizes))])
    axes.set_yticklabels([f"batch {size}" for size in report.batch_sizes])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(timing.ratio for contender in report.contenders for timing in contender.timings))
    axes.set_xlabel("time relative to the plain network (lower is better)")
    processor, threads = report.environment.get("processor", "unknown processor"), report.threads
    axes.set_title(f"{report.bundle} on {processor}, {threads} threads, {report.provider}", fontsize=9)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=150)
