"""`hnexport deploy`: a bundle where people use it."""

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli import exit_codes
from hnexport.cli.options import Integers, Numbers, bundle_argument, digest_option, json_option

if TYPE_CHECKING:
    from hnexport.deploy import TritonRepository, WebOptions, WebSite

__all__ = ["deploy"]

FILE = click.Path(path_type=Path)
PORT = 8000


@click.group()
def deploy() -> None:
    """Put a bundle where people use it: a web page, a server."""


@deploy.command()
@bundle_argument
@click.option(
    "--out", type=FILE, help="The folder to write. Without it, with --serve, one for as long as it is served."
)
@click.option("--force", is_flag=True, help="Replace a site that is already there.")
@click.option(
    "--runtime",
    type=FILE,
    help="A folder with npm's package onnxruntime-web, such as node_modules/onnxruntime-web. Default: npm gets it.",
)
@click.option("--labels", type=FILE, help="Names of the classes, one a line. Default: the bundle's.")
@click.option(
    "--mean", type=Numbers(), help="Subtract this from pixel/255, one number or one a channel, … Default: the bundle's."
)
@click.option("--std", type=Numbers(), help="… then divide by this.")
@click.option("--sample", "samples", type=FILE, multiple=True, help="A picture to try; may be given several times.")
@click.option("--serve", is_flag=True, help="Serve it on 127.0.0.1, with the headers that threads need, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"With --serve; 0 is any that is free.  [default: {PORT}]")
def web(
    bundle: Path,
    out: Path | None,
    force: bool,
    runtime: Path | None,
    labels: Path | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    samples: tuple[Path, ...],
    serve: bool,
    port: int | None,
) -> None:
    """Write a web page that runs every member in the browser: one folder, which any web server serves as it is.

    Pictures are dropped, picked or pasted, and stay in the browser. The page shows each member's probabilities, the
    mean, and how much the members disagree. onnxruntime-web is copied into the folder: nothing is loaded from
    elsewhere.
    """
    from hnexport.cli.pictures import given_normalisation
    from hnexport.deploy import WebOptions

    if out is None and not serve:
        raise click.UsageError("give --out FOLDER, --serve, or both")
    if port is not None and not serve:
        raise click.UsageError("--port is for --serve")
    normalisation = given_normalisation(mean, std)
    options = WebOptions(runtime=runtime, labels=labels, normalisation=normalisation, samples=samples, force=force)
    chosen = (PORT if port is None else port) if serve else None
    if out is not None:
        _write(bundle, out, options, chosen)
        return
    with tempfile.TemporaryDirectory(prefix="hnexport-", ignore_cleanup_errors=True) as folder:
        _write(bundle, Path(folder) / "site", options, chosen, keep=False)


def _write(bundle: Path, target: Path, options: "WebOptions", port: int | None, *, keep: bool = True) -> None:
    from hnexport.cli import render
    from hnexport.deploy import deploy_web
    from hnexport.deploy import serve as serve_folder

    site = deploy_web(bundle, target, options)
    with render.accomplished(f"the site was written: {target}") if keep else contextlib.nullcontext():
        _show(site)
        if port is None:
            render.say(str(target), wrap=False)
        else:
            serve_folder(target, port, ready=lambda address: render.say(f"{address} (Ctrl-C ends it)", wrap=False))


def _show(site: "WebSite") -> None:
    from hnexport.cli import render
    from hnexport.cli.pictures import told

    names = {"wasm": "WebAssembly", "webgpu": "WebGPU"}
    runtime = " or ".join(f"{render.megabytes(size)} for {names[one]}" for one, size in site.runtime_bytes.items())
    render.say(f"runtime: onnxruntime-web {site.runtime_version}, {runtime}")
    render.say(f"weights: {render.megabytes(site.weights_bytes)}")
    render.say(f"page: {render.megabytes(site.page_bytes)}")
    if line := told([site.normalisation]):
        render.say(line)


@deploy.command()
@bundle_argument
@click.option("--out", required=True, type=FILE, help="The model repository; one that is there gets a further version.")
@click.option(
    "--models",
    default="conditional,ensemble",
    show_default=True,
    metavar="KIND,…",
    help="conditional (model.onnx), ensemble (ensemble.onnx), python (materialised members), or none.",
)
@click.option(
    "--members", type=Integers(accepts_all=True), help="Members to serve as plain networks too, as 2,3,7 or all."
)
@click.option("--name", help="What the models' names begin with.  [default: the bundle's name]")
@click.option("--version", type=int, help="Of the models.  [default: the next one]")
@click.option("--latest", type=int, default=1, show_default=True, help="Serve so many of the latest versions.")
@click.option("--max-batch", type=int, default=32, show_default=True, help="Samples that Triton puts into one call.")
@click.option(
    "--queue-delay",
    type=int,
    default=0,
    metavar="MICROSECONDS",
    help="How long it waits for more of them.  [default: not at all]",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where instances compute; with auto Triton chooses, for the Python model the CPU.",
)
@click.option("--instances", type=int, default=1, show_default=True, help="Of each model; each has the weights again.")
@click.option("--threads", type=int, help="Compute threads of an instance on the CPU.  [default: every core]")
@click.option("--labels", type=FILE, help="Names of the classes, one a line. Default: the bundle's.")
@digest_option
@json_option
def triton(
    bundle: Path, out: Path, models: str, members: tuple[int, ...] | None, device: str, as_json: bool, **given: Any
) -> None:
    """Write a model repository for Triton Inference Server: a model with a condition id, the ensemble, single members.

    Plain members and the Python model take batches, which Triton makes of requests. Every file is a copy, the
    repository appears as a whole, and what is there is never changed.
    """
    from hnexport.cli import render
    from hnexport.cli.render_parity import print_unpublished
    from hnexport.deploy import Device, TritonOptions, deploy_triton
    from hnexport.errors import DifferentError

    options = TritonOptions(
        models=_served(models),
        members=() if members is None else members or None,
        device=Device(device),
        version=given["version"],
        queue_delay_us=given["queue_delay"],
        **{name: given[name] for name in ("name", "latest", "max_batch", "instances", "threads", "labels", "digest")},
    )
    with render.live_progress(quiet=as_json) as progress:
        try:
            written = deploy_triton(bundle, out, options, progress=progress)
        except DifferentError as failure:
            report = getattr(failure, "report", None)  # of MembersFailedError, whose module needs torch
            if report is None:
                raise
            print_unpublished(report, out, as_json=as_json, wide=False)
            sys.exit(exit_codes.DIFFERENT)
    with render.accomplished(f"the repository was written: {out}"):
        _print_repository(written, as_json=as_json)


def _served(text: str) -> tuple[Any, ...]:
    """The models of `--models`."""
    from hnexport.deploy import Served

    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    unknown = next((name for name in names if name not in list(Served)), None)
    if unknown is not None:
        raise click.UsageError(f"--models: expected {', '.join(Served)} or none, found {unknown!r}")
    return tuple(Served(name) for name in names)


def _print_repository(written: "TritonRepository", *, as_json: bool) -> None:
    from hnexport.cli import render

    if as_json:
        render.print_json(
            {
                "path": str(written.path),
                "models": list(written.models),
                "version": written.version,
                "bytes": written.size_bytes,
            }
        )
        return
    for name in written.models:
        render.say(f"{name}/{written.version}", wrap=False)
    render.say(f"size: {render.megabytes(written.size_bytes)}")
    render.say(str(written.path), wrap=False)
