"""`hnexport build`: from a specification to a verified bundle."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli.options import Integers, json_option, provider_option

if TYPE_CHECKING:
    from hnexport.spec import PipelineSpec

__all__ = ["build"]

FORMATS = ("onnx", "torchscript", "pt2")


class _Formats(click.ParamType[tuple[str, ...]]):
    """Comma-separated file formats."""

    name = "formats"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Parse `onnx,pt2`."""
        chosen = tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        unknown = [name for name in chosen if name not in FORMATS]
        if unknown:
            self.fail(f"{unknown[0]!r} is not a format; choose among {', '.join(FORMATS)}", param, ctx)
        return chosen


@click.command()
@click.option("--members", type=int, required=True, help="Number of ensemble members.")
@click.option("--network", default="wrn-28-10", show_default=True, help="Main network, wrn-DEPTH-WIDENING.")
@click.option("--recipe", type=click.Choice(["hypernet", "batch-ensemble"]), default="hypernet", show_default=True)
@click.option(
    "--generate",
    multiple=True,
    type=click.Choice(["norm", "output"]),
    help="Let the hypernetwork generate these too (recipe hypernet).",
)
@click.option("--classes", type=int, default=10, show_default=True)
@click.option(
    "--image", "image_shape", type=Integers(), default="3,32,32", show_default=True, help="Channels, height, width."
)
@click.option("--chunking", type=click.Choice(["published", "gcd"]), default="published", show_default=True)
@click.option("--embedding-sizes", type=Integers(), help="One for each internal hypernetwork, for instance 10,7,14,….")
@click.option("--hidden-layers", type=Integers(), help="Hidden layers of the internal hypernetworks. Default: linear.")
@click.option("--formats", type=_Formats(), default=",".join(FORMATS), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
@provider_option
@click.option(
    "--verify-members",
    type=Integers(accepts_all=True),
    help="Members to verify, for instance 2,3,7 or all. Default: all up to 32, above that a seeded sample.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: bundles/NETWORK-RECIPE-MEMBERS.")
@click.option("--force", is_flag=True, help="Replace a bundle that is already there.")
@json_option
def build(out: Path | None, as_json: bool, **options: Any) -> None:
    """Build a verified bundle: one graph (cond_id, image) -> logits in every format.

    The weights are random, from --seed. Every member of every artifact is compared with PyTorch in float64 before the
    bundle appears at its place; if one differs, nothing appears and the exit code is 1.
    """
    from hnexport.build import BuildOptions, ParityFailedError
    from hnexport.build import build as build_bundle
    from hnexport.bundle.manifest import Format
    from hnexport.cli import render
    from hnexport.hypernet.initialise import initialise
    from hnexport.parity.report import report_json
    from hnexport.summary import Summary, summarise, weight_summary

    spec = _spec(options)
    target = out if out is not None else Path("bundles") / spec.name
    chosen = options["verify_members"]
    build_options = BuildOptions(
        formats=tuple(Format(name) for name in options["formats"]),
        members=tuple(range(spec.members)) if chosen == () else chosen,
        provider=options["provider"],
        force=options["force"],
    )
    if not as_json:
        render.print_summary(Summary(name=spec.name, counts=weight_summary(spec), sizes_bytes={}))
    seed = options["seed"]
    try:
        with render.live_progress(quiet=as_json) as progress:
            result = build_bundle(
                spec,
                initialise(spec, seed),
                target,
                origin=f"random weights, seed {seed}",
                options=build_options,
                progress=progress,
            )
    except ParityFailedError as failure:
        if as_json:
            render.print_json(report_json(failure.report))
        else:
            render.print_parity(failure.report)
            click.echo("nothing was published", err=True)
        sys.exit(1)
    if as_json:
        render.print_json({"bundle": str(target), "seconds": result.seconds, "parity": report_json(result.parity)})
        return
    render.print_files(result.manifest, summarise(result.manifest))
    render.print_parity(result.parity)
    click.echo(str(target))


def _spec(options: dict[str, Any]) -> "PipelineSpec":
    from hnexport.spec import RECIPES, Chunking, HypernetSpec, ImageSpec, PipelineSpec, Recipe, Source, WideResNetSpec

    if len(options["image_shape"]) != 3:
        raise click.BadParameter("give channels, height and width, for instance 3,32,32", param_hint="--image")
    channels, height, width = options["image_shape"]
    image = ImageSpec(channels=channels, height=height, width=width)
    network = WideResNetSpec.from_name(options["network"], classes=options["classes"], image=image)
    recipe = RECIPES[options["recipe"]]
    hypernet = None
    if options["recipe"] == "hypernet":
        generated = options["generate"]
        recipe = Recipe(
            convolution=recipe.convolution,
            norm=Source.GENERATED if "norm" in generated else recipe.norm,
            output=Source.GENERATED if "output" in generated else recipe.output,
        )
        hypernet = HypernetSpec(
            chunking=Chunking(options["chunking"]),
            embedding_sizes=options["embedding_sizes"],
            hidden_layers=options["hidden_layers"] or (),
        )
    elif options["generate"] or options["embedding_sizes"] or options["hidden_layers"]:
        raise click.UsageError("--generate, --embedding-sizes and --hidden-layers need the recipe hypernet")
    return PipelineSpec(network=network, members=options["members"], recipe=recipe, hypernet=hypernet)
