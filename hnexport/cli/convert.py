"""`hnexport convert`: from a hypnettorch or late-phase ensemble to a native checkpoint."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli import exit_codes
from hnexport.cli.bases import bases_options, given_bases, given_judge, least_of_rows
from hnexport.cli.usage import given_usage, usage_options
from hnexport.families import assumed, command_line

if TYPE_CHECKING:
    from hnexport.bundle.manifest import BasisRounding
    from hnexport.families import Checkpoint

__all__ = ["convert"]

FILE = click.Path(path_type=Path)
OPTIONS = command_line()


@click.command()
@click.argument("paths", type=FILE, nargs=-1, required=True, metavar="[CKPT] OUT")
@OPTIONS.convert_options
@usage_options
@bases_options
@click.option("--force", is_flag=True, help="Replace a native checkpoint that is already there.")
def convert(paths: tuple[Path, ...], force: bool, **options: Any) -> None:
    """Convert a hypnettorch or late-phase ensemble to a native checkpoint.

    CKPT holds hypnettorch's state dicts hnet and mnet (give --hnet and --mnet instead where they are two files) or a
    late-phase state dict. What the state dicts do not show is inferred from their shapes; the options say what is
    known, and contradictions are errors. What --bases rounds changes outputs: by how much is said, and where it is too
    much nothing is written and the exit code is 1.
    """
    from hnexport.cli import render
    from hnexport.cli.render_bundle import print_rounding
    from hnexport.parity.rounding import RoundedTooMuchError

    expected = 1 if options["hnet"] is not None else 2
    if len(paths) != expected:
        raise click.UsageError("give CKPT and OUT, or OUT with --hnet and --mnet")
    target = paths[-1]
    OPTIONS.check_target(target, replace=force)
    checkpoint = OPTIONS.imported(paths[0] if expected == 2 else None, options)
    checkpoint = checkpoint.with_usage(given_usage(checkpoint.ensemble(), options))
    try:
        checkpoint, rounding = _rounded(checkpoint, options)
    except RoundedTooMuchError as difference:
        render.tell(f"{difference}; nothing was written")
        sys.exit(exit_codes.DIFFERENT)
    OPTIONS.save(target, checkpoint, replace=force)
    with render.accomplished(f"the checkpoint was written: {target}"):
        ensemble = checkpoint.ensemble()
        render.say(f"{ensemble.name}, from {checkpoint.origin}")
        for line in assumed(ensemble):
            render.say(f"assumed: {line}")
        print_rounding(ensemble.stored, ensemble.signature.outputs, rounding)
        render.say(str(target), wrap=False)


def _rounded(checkpoint: "Checkpoint", options: Mapping[str, Any]) -> "tuple[Checkpoint, BasisRounding | None]":
    """The checkpoint with its bases as `--bases` says, and what that changed.

    Raises:
        RoundedTooMuchError: it is more than the options allow.
    """
    from hnexport.cli import render
    from hnexport.parity.rounding import check_measurable, check_rounding, is_rounded, measure_probes

    bases, judge, exact = given_bases(options), given_judge(options), checkpoint.ensemble()
    limits = (options["max_logit_change"], options["min_agreement"], judge)
    check_measurable(exact.stored, bases, limits)
    if bases is None:
        return checkpoint, None
    checkpoint = checkpoint.with_bases(bases)
    rounded = checkpoint.ensemble()
    if not is_rounded(exact, rounded):
        return checkpoint, None
    with render.live_progress(quiet=False) as progress:
        judged = None if judge is None else judge(exact, rounded, progress)
        found = measure_probes(exact, rounded, progress=progress)
    check_rounding(found, most_change=options["max_logit_change"], least_agreement=least_of_rows(options))
    return checkpoint, dataclasses.replace(found, judged=judged)
