"""`hnexport convert`: from a hypnettorch ensemble to a native checkpoint."""

from pathlib import Path
from typing import Any

import click

from hnexport.cli.sources import hypnettorch_checkpoint, input_options, specification_options, with_input

__all__ = ["convert"]

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("paths", type=FILE, nargs=-1, required=True, metavar="[CKPT] OUT")
@click.option("--hnet", type=FILE, help="The hypernetwork's state dict, where that is a file of its own.")
@click.option("--mnet", type=FILE, help="The main network's state dict, for the batch-norm statistics.")
@click.option("--statistics", type=int, help="Use this set of batch-norm statistics (mean_N) for every member.")
@specification_options
@input_options
@click.option("--force", is_flag=True, help="Replace a native checkpoint that is already there.")
def convert(paths: tuple[Path, ...], force: bool, **options: Any) -> None:
    """Convert a hypnettorch ensemble to a native checkpoint.

    CKPT holds the state dicts hnet and mnet; give --hnet and --mnet instead where they are two files. What the state
    dicts do not show is inferred from their shapes; the options say what is known, and contradictions are errors.
    """
    from hnexport.cli import render
    from hnexport.networks.wide_resnet.checkpoints import check_checkpoint_target, save_checkpoint

    expected = 1 if options["hnet"] is not None else 2
    if len(paths) != expected:
        raise click.UsageError("give CKPT and OUT, or OUT with --hnet and --mnet")
    target = paths[-1]
    check_checkpoint_target(target, replace=force)
    checkpoint = with_input(hypnettorch_checkpoint(paths[0] if expected == 2 else None, options), options)
    save_checkpoint(target, checkpoint, replace=force)
    with render.accomplished(f"the checkpoint was written: {target}"):
        render.say(f"{checkpoint.spec.name}, from {checkpoint.origin}")
        render.say(str(target), wrap=False)
