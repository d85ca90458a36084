"""`hnexport deploy`: a bundle where people use it."""

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hnexport.cli.options import Numbers, bundle_argument

if TYPE_CHECKING:
    from hnexport.deploy import WebOptions, WebSite

__all__ = ["deploy"]

FILE = click.Path(path_type=Path)
PORT = 8000


@click.group()
def deploy() -> None:
    """Put a bundle where people use it: a web page."""


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
