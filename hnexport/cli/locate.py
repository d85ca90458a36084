"""`hnexport locate`: where does an artifact depart from PyTorch?"""

import sys
from pathlib import Path

import click

from hnexport.cli import exit_codes
from hnexport.cli.options import bundle_argument, json_option, precision_option, trust_option, wide_option

__all__ = ["locate"]


@click.command()
@bundle_argument
@click.option(
    "--against",
    required=True,
    metavar="onnx|torchscript|pt2|FILE",
    help="An artifact of the bundle, or a model file with the same signature that someone changed.",
)
@click.option("--member", type=int, help="Follow this member. Default: the one with the largest error.")
@precision_option
@click.option("--all", "show_all", is_flag=True, help="Show every comparison, not only the departures.")
@trust_option
@wide_option
@json_option
def locate(
    bundle: Path,
    against: str,
    member: int | None,
    precision: str,
    show_all: bool,
    trust: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Name the first place where an artifact departs from PyTorch in float64.

    Walks embedding, chunk, assembled weight, every module by its path and the outputs, and says whether weight
    generation or inference is at fault. A list of modules is compared with network.onnx of the bundle instead. Exits
    with 0 if nothing departs, 1 if something does, 2 if it could not be told.
    """
    from hnexport.cli import render
    from hnexport.cli.render_parity import print_locate
    from hnexport.parity import Precision
    from hnexport.parity.locate import locate as locate_fault
    from hnexport.parity.report import locate_json

    report = locate_fault(bundle, against, member=member, precision=Precision(precision), trust=trust)
    if as_json:
        render.print_json(locate_json(report))
    else:
        print_locate(report, show_all=show_all, wide=wide)
    sys.exit(exit_codes.YES if report.first is None else exit_codes.DIFFERENT)
