"""`hnexport bench`: how fast is a bundle beside the plain network and beside PyTorch?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hnexport.cli.options import Integers, bundle_argument, json_option

if TYPE_CHECKING:
    from hnexport.bench.results import BenchReport

__all__ = ["bench"]


@click.command()
@bundle_argument
@click.option("--batch-sizes", type=Integers(), default="1,8,32", show_default=True)
@click.option(
    "--against",
    default="plain",
    show_default=True,
    help="Comma-separated: plain, torch, hypnettorch, openvino-plain, openvino-materialised, openvino-generated, "
    "each openvino also with -bfloat16; all members at once: ensemble, ensemble-materialised, ensemble-shared (the "
    "same with one pool of threads), ensemble-folded. "
    "Materialised, folded, folded-resident and generated always run.",
)
@click.option("--provider", type=click.Choice(["cpu", "cuda", "tensorrt"]), default="cpu", show_default=True)
@click.option("--precision", type=click.Choice(["float32", "tf32", "float16"]), default="float32", show_default=True)
@click.option("--cuda-graph", is_flag=True, help="CUDA: capture each call as a graph and replay it.")
@click.option("--prefer-nhwc", is_flag=True, help="CUDA: convolutions with channels last.")
@click.option(
    "--algorithm-search",
    type=click.Choice(["exhaustive", "heuristic", "default"]),
    default="exhaustive",
    show_default=True,
    help="CUDA: how cuDNN's algorithms are found.",
)
@click.option("--threads", type=int, help="Default: the cores this process may use.")
@click.option("--seconds", type=float, default=30.0, show_default=True, help="About, for each batch size.")
@click.option("--member", type=int, default=0, show_default=True)
@click.option("--chart", type=click.Path(path_type=Path), help="Write a chart, .svg or .png (needs hnexport[plot]).")
@click.option("--force", is_flag=True, help="Replace a chart that is already there.")
@json_option
def bench(
    bundle: Path,
    batch_sizes: tuple[int, ...],
    against: str,
    provider: str,
    precision: str,
    cuda_graph: bool,
    prefer_nhwc: bool,
    algorithm_search: str,
    threads: int | None,
    seconds: float,
    member: int,
    chart: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Time a bundle side by side with the plain network, in interleaved rounds.

    Each contender runs in a process of its own. Ratios are medians over rounds; what the machine does besides slows all
    contenders of a round alike.
    """
    from hnexport.bench.chart import check_chart_target, write_chart
    from hnexport.bench.run import OWN_CONTENDERS, BenchOptions
    from hnexport.bench.run import bench as run_bench
    from hnexport.cli import render
    from hnexport.records import to_json
    from hnexport.runtime import AlgorithmSearch, CudaOptions, Precision

    if provider != "cuda" and (cuda_graph or prefer_nhwc or algorithm_search != "exhaustive" or precision != "float32"):
        raise click.UsageError(
            "--cuda-graph, --prefer-nhwc, --algorithm-search and another precision than float32 need --provider cuda"
        )

    options = BenchOptions(
        batch_sizes=batch_sizes,
        contenders=(*OWN_CONTENDERS, *(name.strip() for name in against.split(","))),
        provider=provider,
        member=member,
        threads=threads,
        seconds=seconds,
        precision=Precision(precision),
        cuda=CudaOptions(graph=cuda_graph, prefer_nhwc=prefer_nhwc, algorithm_search=AlgorithmSearch(algorithm_search)),
    )
    if chart is not None:
        check_chart_target(chart, force=force)
    with render.live_progress(quiet=as_json) as progress:
        report = run_bench(bundle, options, progress)
    if chart is not None:
        write_chart(report, chart, force=force)
    if as_json:
        render.print_json(to_json(report))
    else:
        _print(report)


def _print(report: "BenchReport") -> None:
    from rich.table import Table

    from hnexport.cli import render

    where = f"{report.bundle}, {report.provider}, {report.precision}, {report.threads} threads"
    title = f"{where}: ms, median (p95), and ratio to plain [quartiles]"
    times = Table(title=title.replace("[", r"\["), title_justify="left")
    times.add_column("contender")
    for size in report.batch_sizes:
        times.add_column(f"batch {size}", justify="right")
    costs = Table(title="memory of each process, and files", title_justify="left")
    for column in ("contender", "runtime", "load", "resident", "peak", "libraries alone", "on disk"):
        costs.add_column(column, justify="left" if column in ("contender", "runtime") else "right")
    for contender in report.contenders:
        cells = [
            f"{timing.median_ms:.1f} ({timing.p95_ms:.1f})  {timing.ratio:.2f}x \\[{timing.ratio_quartiles[0]:.2f}, "
            f"{timing.ratio_quartiles[1]:.2f}]"
            for timing in contender.timings
        ]
        times.add_row(contender.name, *cells)
        sizes = (contender.resident_bytes, contender.peak_bytes, contender.baseline_bytes, contender.disk_bytes)
        costs.add_row(
            contender.name, contender.runtime, f"{contender.load_seconds:.2f} s", *map(render.megabytes, sizes)
        )
    render.print_table(times)
    render.print_table(costs)
    for name, reason in report.not_run.items():
        click.echo(f"not run: {name}: {reason}")
