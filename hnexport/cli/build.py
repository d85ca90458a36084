"""`hnexport build`: from trained or random weights to a verified bundle."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli import exit_codes
from hnexport.cli.bases import bases_options, given_bases, given_judge, least_of_rows
from hnexport.cli.from_factory import apart, check_without, factory_options, given_samples, source
from hnexport.cli.options import Integers, json_option, provider_option, wide_option
from hnexport.cli.usage import given_usage, usage_options
from hnexport.families import command_line, family
from hnexport.names import documented
from hnexport.text import number_of

if TYPE_CHECKING:
    from hnexport.build import BuildOptions
    from hnexport.ensemble import Ensemble
    from hnexport.families import Checkpoint

__all__ = ["build"]

OPTIONS = command_line()
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


@click.command(epilog=f"Networks of your own: {documented('howto/from')}")
@factory_options
@OPTIONS.build_options
@usage_options
@click.option(
    "--formats",
    type=_Formats(),
    help="Comma-separated.  [default: onnx,torchscript,pt2; onnx alone above 1 GiB of stored tensors]",
)
@bases_options
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="A safetensors file of what the trained model computes, input.NAME and output.NAME [member, sample, …]. "
    "An ensemble that differs from it is not published.",
)
@provider_option
@click.option(
    "--verify-members",
    type=Integers(accepts_all=True),
    help="Members to verify, for instance 2,3,7 or all. Default: all up to 32, above that a seeded sample.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: bundles/NETWORK-RECIPE-MEMBERS.")
@click.option("--force", is_flag=True, help="Replace a bundle that is already there.")
@wide_option
@json_option
def build(out: Path | None, wide: bool, as_json: bool, **options: Any) -> None:
    """Build a verified bundle: one graph (cond_id, image) -> logits in every format.

    The weights come from --hypnettorch, from --checkpoint (native or late-phase) or, to try things out, from --seed;
    any other network comes from a function of yours, --from train.py:make. Every member of every
    artifact is compared with PyTorch in float64 before the bundle appears at its place; if one differs, nothing appears
    and the exit code is 1; it is 2 where the question could not be answered.
    """
    from hnexport.build import ParityFailedError
    from hnexport.build import build as build_bundle
    from hnexport.bundle.summary import Summary, summarise
    from hnexport.cli import render, render_bundle
    from hnexport.cli.render_parity import print_parity, print_unpublished
    from hnexport.families import assumed as assumed_of
    from hnexport.parity.report import report_json
    from hnexport.parity.rounding import RoundedTooMuchError
    from hnexport.parity.trained import NotAsTrainedError
    from hnexport.records import to_json

    with apart(as_json):
        made, ensemble, build_options = _asked(options)
    target = out if out is not None else Path("bundles") / ensemble.name
    if not as_json:
        assumed = assumed_of(ensemble)
        if options["factory"] is not None or assumed:
            render.say(f"{ensemble.name}, {number_of(ensemble.members, 'member')}, from {ensemble.origin}")
        for line in assumed:
            render.say(f"assumed: {line}")
        counts = family(ensemble.source.family).counts(ensemble)
        render_bundle.print_summary(Summary(name=ensemble.name, counts=counts))
    try:
        with render.live_progress(quiet=as_json) as progress, apart(as_json):
            result = build_bundle(made, target, options=build_options, progress=progress)
    except (NotAsTrainedError, RoundedTooMuchError) as difference:
        render.tell(f"{difference}; nothing was published")
        sys.exit(exit_codes.DIFFERENT)
    except ParityFailedError as failure:
        print_unpublished(failure.report, target, as_json=as_json, wide=wide)
        sys.exit(exit_codes.DIFFERENT)
    with render.accomplished(f"the bundle was verified and published: {target}"):
        if as_json:
            value = {
                "bundle": str(target),
                "digest": result.digest,
                "seconds": result.seconds,
                "parity": report_json(result.parity),
                "basis_rounding": to_json(result.manifest.basis_rounding),
                "as_trained": to_json(result.manifest.as_trained),
                "assumed": list(assumed_of(result.manifest)),
            }
            render.print_json(value)
            return
        if options["formats"] is None and len(result.manifest.formats) < len(FORMATS):
            has_pt2 = "pt2" in result.manifest.formats
            why = "PyTorch has no TorchScript" if has_pt2 else "above 1 GiB of stored tensors"
            render.say(f"{why}: written as {' and '.join(result.manifest.formats)}; --formats names others")
        render_bundle.print_files(result.manifest, summarise(result.manifest), wide=wide)
        print_parity(result.parity, wide=wide, bundle=str(target))
        render_bundle.print_bases(result.manifest)
        render_bundle.print_reference(result.manifest)
        render.say(f"digest {result.digest}", wrap=False)
        render.say(str(target), wrap=False)


def _asked(options: Mapping[str, Any]) -> "tuple[Ensemble | Checkpoint, Ensemble, BuildOptions]":
    """What is to be built, the ensemble of it, and how."""
    from hnexport.build import BuildOptions
    from hnexport.bundle.manifest import Format
    from hnexport.ensemble import Ensemble

    if options["factory"] is None:
        check_without(options)
    samples, chosen = given_samples(options["samples"]), options["verify_members"]
    made = OPTIONS.checkpoint(options) if options["factory"] is None else source(options, samples)
    ensemble = made if isinstance(made, Ensemble) else made.ensemble()
    usage = given_usage(ensemble, options)
    return (
        made,
        ensemble.with_usage(usage),
        BuildOptions(
            formats=tuple(Format(name) for name in options["formats"]) if options["formats"] else None,
            members=tuple(range(ensemble.members)) if chosen == () else chosen,
            provider=options["provider"],
            force=options["force"],
            bases=given_bases(options),
            max_logit_change=options["max_logit_change"],
            min_agreement=least_of_rows(options),
            judge=given_judge(options),
            samples=samples,
            reference=options["reference"],
            usage=usage,
        ),
    )
