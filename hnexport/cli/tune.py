"""`hnexport tune`: a cache made on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hnexport.cli.options import bundle_argument, json_option

if TYPE_CHECKING:
    from hnexport.tune import TunedBundle

__all__ = ["tune"]


@click.command()
@bundle_argument
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="float16 makes a graph for CUDA instead, which runs on any machine.",
)
@click.option("--force", is_flag=True, help="Make it again if the cache holds it.")
@json_option
def tune(bundle: Path, precision: str, force: bool, as_json: bool) -> None:
    """Fold a bundle's graph into onnxruntime's layout on this processor, verify every member, and cache the result.

    The cache lies in $XDG_CACHE_HOME/hnexport/tuned and is used only with this onnxruntime, this processor and this
    bundle. The bundle itself is not touched. With --precision float16 the graph is converted instead of folded, and
    lies in $XDG_CACHE_HOME/hnexport/float16.
    """
    from hnexport.cli import render
    from hnexport.tune.half import halve
    from hnexport.tune.make import tune as fold

    make = halve if precision == "float16" else fold
    with render.live_progress(quiet=as_json) as progress:
        tuned = make(bundle, force=force, progress=progress)
    with render.accomplished(f"the cache holds it: {tuned.path}"):
        _show(tuned, as_json=as_json)


def _show(tuned: "TunedBundle", *, as_json: bool) -> None:
    from hnexport.cli import render

    error = None if tuned.parity is None else tuned.parity.worst.relative_l2
    if as_json:
        render.print_json({"path": str(tuned.path), "seconds": tuned.seconds, "relative_l2": error})
        return
    found = "held already" if error is None else f"made and verified, worst relative L2 error {error:.1e}"
    render.say(f"{found}, {tuned.seconds:.1f} s")
    render.say(str(tuned.path), wrap=False)
