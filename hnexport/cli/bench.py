"""`hnexport bench`: how fast is a bundle beside the plain network and beside PyTorch?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hnexport.cli.options import Integers, UntilRule, bundle_argument, json_option, wide_option

if TYPE_CHECKING:
    from hnexport.runtime import Until

__all__ = ["bench"]


@click.command()
@bundle_argument
@click.option("--batch-sizes", type=Integers(), default="1,8,32", show_default=True)
@click.option(
    "--against",
    default="plain",
    show_default=True,
    help="Comma-separated: plain, torch, hypnettorch, openvino-plain, openvino-materialised, openvino-generated, "
    "each openvino also with -bfloat16 and -float16; int8, openvino-int8 (over what `hnexport tune BUNDLE --precision "
    "int8` made); all members at once: ensemble, ensemble-materialised, ensemble-shared (the "
    "same with one pool of threads), ensemble-folded, ensemble-int8, openvino-ensemble, openvino-ensemble-int8; no "
    "more of them than a sample takes: ensemble-until, ensemble-int8-until, openvino-ensemble-until, "
    "openvino-ensemble-int8-until. "
    "Materialised, folded, folded-resident and generated always run.",
)
@click.option(
    "--until", type=UntilRule(), metavar="RULE", default="exact", show_default=True, help="When the -until ones stop."
)
@click.option(
    "--data",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="What is run: a folder of pictures or classes, .npz, .npy or Parquet. Default: drawn numbers.",
)
@click.option("--provider", metavar="NAME", default="cpu", show_default=True, help="cpu, cuda, webgpu or another.")
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
@click.option("--threads", type=click.IntRange(1, 4096), help="Default: the cores this process may use.")
@click.option("--seconds", type=float, default=30.0, show_default=True, help="About, for each batch size.")
@click.option("--member", type=int, default=0, show_default=True)
@click.option("--chart", type=click.Path(path_type=Path), help="Write a chart, .svg or .png (needs hnexport[plot]).")
@click.option("--force", is_flag=True, help="Replace a chart that is already there.")
@wide_option
@json_option
def bench(
    bundle: Path,
    batch_sizes: tuple[int, ...],
    against: str,
    until: "Until | str",
    data: Path | None,
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
    wide: bool,
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
    from hnexport.cli.render_bench import print_bench
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
        samples=data,
        until=until,
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
        print_bench(report, wide=wide)
