"""`hnexport recalibrate`: batch-norm statistics of each member, estimated from training images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli.options import json_option
from hnexport.cli.pictures import picture_options, reading_options
from hnexport.families import command_line, image_input

if TYPE_CHECKING:
    from hnexport.images import ImageBatch

__all__ = ["recalibrate"]

FILE = click.Path(path_type=Path)
OPTIONS = command_line()


@click.command()
@click.argument("checkpoint", type=FILE)
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=FILE)
@click.option("--out", type=FILE, required=True, help="The new native checkpoint; the given one stays as it is.")
@click.option("--batch", type=click.IntRange(min=2), default=100, show_default=True, help="Images in a batch.")
@picture_options
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
    from hnexport.images import read_images

    if out.exists() and checkpoint.exists() and out.samefile(checkpoint):
        raise click.UsageError("--out is CHECKPOINT itself, which stays as it is: give another name")
    OPTIONS.check_target(out, replace=force)
    found = OPTIONS.loaded(checkpoint)
    given = read_images(images, image_input(found.ensemble()), **reading_options(pictures, images))
    with render.live_progress(quiet=as_json) as progress:
        made = OPTIONS.recalibrated(found, given.images, batch, progress)
    OPTIONS.save(out, made.checkpoint, replace=force)
    with render.accomplished(f"the checkpoint was written: {out}"):
        _show(made, given, out, as_json=as_json)


def _show(made: Any, given: "ImageBatch", out: Path, *, as_json: bool) -> None:
    from hnexport.cli import render
    from hnexport.records import to_json

    applied = next((one for one in given.normalised if one is not None), None)

    if as_json:
        changes = [vars(change) for change in made.changes]
        found = {"out": str(out), "images": made.images, "batches": made.batches, "changes": changes}
        render.print_json(found | {"normalisation": None if applied is None else to_json(applied)})
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
    if applied is not None:
        render.say(applied.told("checkpoint"))
    render.say(str(out), wrap=False)
