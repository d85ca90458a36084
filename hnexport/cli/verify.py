"""`hnexport verify`: does every member compute the same in every format?"""

import sys
from pathlib import Path

import click

from hnexport.cli.options import Integers, bundle_argument, json_option, members_option, provider_option

__all__ = ["verify"]


@click.command()
@bundle_argument
@provider_option
@members_option
@click.option(
    "--batch-sizes", type=Integers(), default="1,3,6", show_default=True, help="Each member runs once with each."
)
@json_option
def verify(
    bundle: Path, provider: str, members: tuple[int, ...] | None, batch_sizes: tuple[int, ...], as_json: bool
) -> None:
    """Compare every artifact of a bundle with PyTorch in float64, member by member.

    Exits with 0 if all are the same, 1 if one differs, 2 if the comparison could not be made.
    """
    from hnexport.bundle.manifest import read_manifest
    from hnexport.cli import render
    from hnexport.parity import VerifyOptions
    from hnexport.parity import verify as verify_bundle
    from hnexport.parity.report import report_json

    if members == ():
        members = tuple(range(read_manifest(bundle).spec.members))
    options = VerifyOptions(members=members, batch_sizes=batch_sizes, provider=provider)
    with render.live_progress(quiet=as_json) as progress:
        report = verify_bundle(bundle, options, progress)
    if as_json:
        render.print_json(report_json(report))
    else:
        render.print_member_parity(report)
        render.print_parity(report)
    sys.exit(0 if report.passed else 1)
