"""`hnexport recalibrate`: batch-norm statistics of each member, estimated from training images."""

from pathlib import Path
from typing import Any

import click

from hnexport.cli.options import Numbers, json_option
from hnexport.families import command_line

__all__ = ["recalibrate"]

FILE = click.Path(path_type=Path)
OPTIONS = command_line()


@click.command()
@click.argument("checkpoint", type=FILE)
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, required=True, help="The new native checkpoint; the given one stays as it is.")
@click.option("--batch", type=click.IntRange(min=2), default=100, show_default=True, help="Images in a batch.")
@click.option("--mean", type=Numbers(), help="How training normalised pictures: subtract this from pixel/255, …")
@click.option("--std", type=Numbers(), help="… then divide by this; one number, or one a channel.")
@click.option("--resize", is_flag=True, help="Scale pictures of another size to the graph's.")
@click.option("--background", metavar="COLOUR", help="Behind transparent pictures: white, #ffffff or 255,255,255.")
@click.option("--frame", type=int, help="Which frame of an animation or page of a TIFF, from 0.")
@click.option("--force", is_flag=True, help="Replace a native checkpoint that is already at --out.")
@json_option
def recalibrate(
    checkpoint: Path, images: tuple[Path, ...], out: Path, batch: int, force: bool, as_json: bool, **pictures: Any
) -> None:
    """Estimate batch-norm statistics for each member of a native checkpoint from training images.

    It repairs an ensemble whose members were trained on one set of statistics. IMAGES are .npy files of images as the
    graph takes them, normalised as in training, or pictures; some hundred are enough. Weights stay as they are.
    """
    from hnexport.cli import render
    from hnexport.cli.recalibrate_images import training_images

    if out.exists() and checkpoint.exists() and out.samefile(checkpoint):
        raise click.UsageError("--out is CHECKPOINT itself, which stays as it is: give another name")
    OPTIONS.check_target(out, replace=force)
    found = OPTIONS.loaded(checkpoint)
    array = training_images(found, images, pictures)
    with render.live_progress(quiet=as_json) as progress:
        made = OPTIONS.recalibrated(found, array, batch, progress)
    OPTIONS.save(out, made.checkpoint, replace=force)
    with render.accomplished(f"the checkpoint was written: {out}"):
        _show(made, out, as_json=as_json)


def _show(made: Any, out: Path, *, as_json: bool) -> None:
    from hnexport.cli import render

    if as_json:
        changes = [vars(change) for change in made.changes]
        render.print_json({"out": str(out), "images": made.images, "batches": made.batches, "changes": changes})
        return
    before = "each member had its own before" if made.had_own else "there was one set for all members before"
    render.say(
        f"{made.checkpoint.ensemble().name}: {made.norms} batch norms have statistics of each member, from "
        f"{made.images} images in {made.batches} batches; {before}"
    )
    columns = (
        render.Column("member", right=True),
        render.Column("moved most"),
        render.Column("mean, in old\nstandard deviations", right=True),
        render.Column("standard deviation,\ntimes the old one", right=True),
    )
    rows = [(str(one.member), one.norm, f"{one.mean:.2f}", f"{one.std:.2f}") for one in made.changes]
    render.show_table(render.Table(columns=columns, rows=rows))
    render.say(str(out), wrap=False)
