"""`hnexport serve`: a bundle over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli.options import NumberRange, bundle_argument, digest_option, provider_option

if TYPE_CHECKING:
    from hnexport.serve.service import Service

__all__ = ["serve"]

MEGABYTE = 2**20
PRECISIONS = ("float32", "tf32", "float16", "bfloat16", "int8")


@click.command()
@bundle_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 is every one.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any that is free.")
@click.option("--name", help="The model's name in addresses. Default: the bundle's.")
@provider_option
@click.option("--engine", type=click.Choice(["onnxruntime", "openvino"]), default="onnxruntime", show_default=True)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    help="May be given several times: a request names one, or gets the first.  [default: float32]",
)
@click.option("--resident", type=click.IntRange(1), help="Keep so many members at most. Default: all that fit.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Compute threads of one call.")
@click.option(
    "--workers", type=click.IntRange(1), help="Calls side by side. Default: the cores; 1 on another provider."
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Samples of a call, and of a request, at most.",
)
@click.option(
    "--window",
    "window_ms",
    metavar="MS",
    type=NumberRange(0),
    default=2.0,
    show_default=True,
    help="So long does a request wait for others of its kind.",
)
@click.option(
    "--queue", type=click.IntRange(1), default=1024, show_default=True, help="Samples that wait at most; then 503."
)
@click.option(
    "--body",
    "body_mb",
    metavar="MB",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Of a request at most.",
)
@click.option(
    "--held",
    "held_mb",
    metavar="MB",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Of all requests together.",
)
@click.option(
    "--drain",
    "drain_s",
    metavar="SECONDS",
    type=NumberRange(0),
    default=1.0,
    show_default=True,
    help="After SIGTERM so long go on answering, not ready.",
)
@click.option(
    "--stop", "stop_s", metavar="SECONDS", type=NumberRange(0), default=30.0, show_default=True,
    help="Then finish what was accepted, for so long at most.",
)  # fmt: skip
@click.option(
    "--watch", "watch_s", metavar="SECONDS", type=NumberRange(0), default=0.0,
    help="Look so often whether another bundle was published at the path. Default: on SIGHUP alone.",
)  # fmt: skip
@digest_option
def serve(bundle: Path, body_mb: int, held_mb: int, **options: Any) -> None:
    """Serve a bundle over HTTP until Ctrl-C or SIGTERM: the Open Inference Protocol (v2), and plain JSON.

    GET / is a page about it, /v2/health/live and /v2/health/ready are for probes, /metrics is for Prometheus. Requests
    for one member that come together are computed as one batch. SIGHUP loads the bundle that lies at the path, and
    serves it once all its members are made; no request is lost.
    """
    from hnexport.cli import render
    from hnexport.installed import require_extra

    for module in ("starlette", "uvicorn", "prometheus_client"):
        require_extra("serving", module, "serve")
    from hnexport.serve import ServeOptions
    from hnexport.serve import serve as serve_bundle
    from hnexport.serve.settings import LoadSettings

    load = LoadSettings(
        precisions=options.pop("precisions") or ("float32",),
        **{name: options.pop(name) for name in ("provider", "engine", "resident", "threads", "digest")},
    )
    chosen = ServeOptions(load=load, body_bytes=body_mb * MEGABYTE, held_bytes=held_mb * MEGABYTE, **options)
    serve_bundle(
        bundle,
        chosen,
        listening=lambda address: render.say(f"{address} (Ctrl-C ends it)", wrap=False),
        ready=lambda service: render.say(_ready(service), wrap=False),
    )


def _ready(service: "Service") -> str:
    from hnexport.text import number_of

    served = service.current()
    return (
        f"ready: {service.name}, version {served.version}, {number_of(served.manifest.members, 'member')}, "
        f"{', '.join(served.ensembles)} on {served.first.provider}"
    )
