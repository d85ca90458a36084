"""`hnexport tune`: a cache made on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli.int8 import Int8Flags, int8_options
from hnexport.cli.options import bundle_argument, json_option
from hnexport.cli.pictures import picture_options

if TYPE_CHECKING:
    from hnexport.quantise.options import Int8Options
    from hnexport.tune import TunedBundle

__all__ = ["tune"]


@click.command()
@bundle_argument
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="float16 makes a graph for CUDA instead, int8 one for members on the CPU; both run on any machine.",
)
@click.option("--force", is_flag=True, help="Make it again if the cache holds it; int8 is made again each time.")
@int8_options
@picture_options
@json_option
def tune(bundle: Path, precision: str, force: bool, as_json: bool, **given: Any) -> None:
    """Fold a bundle's graph into onnxruntime's blocked format, verify every member, and cache it for this processor.

    It is used only with this onnxruntime, this processor and this bundle. The bundle itself is not touched. With
    --precision float16 the graph is converted instead of folded. With --precision int8 members compute in int8,
    calibrated with --calibration, and what that changes in their answers is said. The cache lies in
    $XDG_CACHE_HOME/hnexport, without that variable in the folder that the system has for caches (on Linux ~/.cache);
    its folders are called tuned, float16 and int8.
    """
    from hnexport.cli import render
    from hnexport.tune.half import halve
    from hnexport.tune.make import tune as fold

    flags = Int8Flags.of(given, precision)
    if flags is not None and flags.samples is not None:
        _in_int8(bundle, flags.samples, flags.options, as_json=as_json)
        return
    make = halve if precision == "float16" else fold
    with render.live_progress(quiet=as_json) as progress:
        tuned = make(bundle, force=force, progress=progress)
    with render.accomplished(f"the cache holds it: {tuned.path}"):
        _show(tuned, as_json=as_json)


def _in_int8(bundle: Path, samples: Path, options: "Int8Options", *, as_json: bool) -> None:
    from hnexport.cli import render
    from hnexport.cli.render_int8 import print_int8
    from hnexport.records import to_json
    from hnexport.tune.int8 import quantised

    with render.live_progress(quiet=as_json) as progress:
        made = quantised(bundle, samples, options=options, progress=progress)
    with render.accomplished(f"the cache holds it: {made.path}"):
        if as_json:
            error = made.parity.worst.relative_l2
            report = to_json(made.report)
            render.print_json({"path": str(made.path), "seconds": made.seconds, "relative_l2": error, "int8": report})
            return
        print_int8(made.report)
        render.say(
            f"made and proved against float64: levels at most {made.report.levels:.3f} off (0.5 is rounding), outputs "
            f"{made.parity.worst.relative_l2:.1e} behind the last one, {made.seconds:.1f} s"
        )
        render.say(str(made.path), wrap=False)


def _show(tuned: "TunedBundle", *, as_json: bool) -> None:
    from hnexport.cli import render

    error = None if tuned.parity is None else tuned.parity.worst.relative_l2
    if as_json:
        render.print_json({"path": str(tuned.path), "seconds": tuned.seconds, "relative_l2": error})
        return
    found = "held already" if error is None else f"made and verified, worst relative L2 error {error:.1e}"
    render.say(f"{found}, {tuned.seconds:.1f} s")
    render.say(str(tuned.path), wrap=False)
