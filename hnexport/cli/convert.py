"""`hnexport convert`: from a hypnettorch or late-phase ensemble to a native checkpoint."""

from pathlib import Path
from typing import Any

import click

from hnexport.cli.usage import given_usage, usage_options
from hnexport.families import assumed, command_line
from hnexport.spec import BasisDtype

__all__ = ["convert"]

FILE = click.Path(path_type=Path)
OPTIONS = command_line()


@click.command()
@click.argument("paths", type=FILE, nargs=-1, required=True, metavar="[CKPT] OUT")
@OPTIONS.convert_options
@usage_options
@click.option(
    "--bases",
    type=click.Choice([dtype.value for dtype in BasisDtype]),
    help="How the hypernetwork's bases are stored, as in build, which cannot say then what rounding changed.",
)
@click.option("--force", is_flag=True, help="Replace a native checkpoint that is already there.")
def convert(paths: tuple[Path, ...], bases: str | None, force: bool, **options: Any) -> None:
    """Convert a hypnettorch or late-phase ensemble to a native checkpoint.

    CKPT holds hypnettorch's state dicts hnet and mnet (give --hnet and --mnet instead where they are two files) or a
    late-phase state dict. What the state dicts do not show is inferred from their shapes; the options say what is
    known, and contradictions are errors.
    """
    from hnexport.cli import render

    expected = 1 if options["hnet"] is not None else 2
    if len(paths) != expected:
        raise click.UsageError("give CKPT and OUT, or OUT with --hnet and --mnet")
    target = paths[-1]
    OPTIONS.check_target(target, replace=force)
    checkpoint = OPTIONS.imported(paths[0] if expected == 2 else None, options)
    checkpoint = checkpoint.with_usage(given_usage(checkpoint.ensemble(), options))
    if bases is not None:
        checkpoint = checkpoint.with_bases(BasisDtype(bases))
    OPTIONS.save(target, checkpoint, replace=force)
    with render.accomplished(f"the checkpoint was written: {target}"):
        ensemble = checkpoint.ensemble()
        render.say(f"{ensemble.name}, from {checkpoint.origin}")
        for line in assumed(ensemble):
            render.say(f"assumed: {line}")
        render.say(str(target), wrap=False)
