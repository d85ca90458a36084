"""`hnexport verify`: does every member compute the same in every format?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from hnexport.cli import exit_codes
from hnexport.cli.options import (
    Integers,
    digest_option,
    json_option,
    members_option,
    named_members,
    precision_option,
    provider_option,
    trust_option,
    wide_option,
)

if TYPE_CHECKING:
    from hnexport.parity import VerifyOptions

__all__ = ["verify"]


@click.command()
@click.argument("target", metavar="BUNDLE|MODEL_FILE", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="The bundle whose golden samples a MODEL_FILE (.onnx, .ort, .pt, .pt2) is compared with.",
)
@provider_option
@precision_option
@members_option
@click.option(
    "--batch-sizes",
    type=Integers(),
    help="Each member runs once with each. Default: 1, 3 and all samples, or those that a MODEL_FILE is limited to; "
    "one member 33 and 257 too.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Draws the same members as the report that names it. Default: of more than 32 members others each time.",
)
@click.option("--runtimes", help="Comma-separated, for instance onnx,openvino, or all that are installed.")
@click.option("--save-failure", type=click.Path(path_type=Path), help="A folder for failing cases, for --replay.")
@click.option("--replay", type=click.Path(path_type=Path), help="Run one saved failing case again, and nothing else.")
@click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    help="Judge what a runtime returned for the inputs that `hnexport golden BUNDLE` wrote, and nothing else.",
)
@trust_option
@digest_option
@wide_option
@json_option
def verify(target: Path, bundle: Path | None, wide: bool, as_json: bool, replay: Path | None, **choices: Any) -> None:
    """Compare every artifact of a bundle with PyTorch in float64, member by member.

    Exits with 0 if all are the same, 1 if one differs, 2 if the comparison could not be made.
    """
    from hnexport.cli import render
    from hnexport.cli.render_parity import print_member_parity, print_parity
    from hnexport.parity import Precision, VerifyOptions, verify_file, verify_outputs
    from hnexport.parity import verify as verify_bundle
    from hnexport.parity.report import report_json

    if target.is_file() and bundle is None:
        raise click.UsageError(f"{target} is a file: name the bundle that it should agree with, --bundle BUNDLE")
    if bundle is not None and choices["runtimes"] is not None:
        raise click.UsageError("--runtimes chooses among what a bundle holds, a file runs in one: leave it out")
    if choices["outputs"] is not None:
        _check_outputs_alone(target, bundle, replay, choices)
    source = bundle or target
    options = VerifyOptions(
        members=named_members(choices["members"], source),
        batch_sizes=choices["batch_sizes"],
        provider=choices["provider"],
        artifacts=tuple(choices["runtimes"].split(",")) if choices["runtimes"] else None,
        precision=Precision(choices["precision"]),
        save_failures=choices["save_failure"],
        trust=choices["trust"],
        digest=choices["digest"],
        seed=choices["seed"],
    )
    if replay is not None:
        _replay(replay, target, source, options, as_json=as_json)
    with render.live_progress(quiet=as_json) as progress:
        if choices["outputs"] is not None:
            report = verify_outputs(choices["outputs"], target, options)
        elif bundle is None:
            report = verify_bundle(target, options, progress)
        else:
            report = verify_file(target, bundle, options, progress)
    if as_json:
        render.print_json(report_json(report))
    else:
        print_member_parity(report, wide=wide)
        print_parity(report, wide=wide, bundle=str(source), file="" if bundle is None else str(target))
    sys.exit(exit_codes.VERDICTS[report.verdict])


def _replay(case: Path, target: Path, bundle: Path, options: "VerifyOptions", *, as_json: bool) -> NoReturn:
    """Run a saved case again, and exit with what it says."""
    from hnexport.cli import render
    from hnexport.parity import replay
    from hnexport.records import to_json

    found = replay(case, target, bundle, options)
    if as_json:
        render.print_json(to_json(found))
    else:
        verdict = "the same now" if found.passed else "still different"
        render.say(f"member {found.member}: relative L2 error {found.relative_l2:.2e}, {verdict}")
    sys.exit(exit_codes.YES if found.passed else exit_codes.DIFFERENT)


def _check_outputs_alone(target: Path, bundle: Path | None, replay: Path | None, choices: dict[str, Any]) -> None:
    """Outputs were computed already: whatever says how to compute them contradicts that."""
    if bundle is not None or target.is_file():
        raise click.UsageError("with --outputs name the bundle alone: hnexport verify BUNDLE --outputs FOLDER")
    given = {
        "--replay": replay is not None,
        "--runtimes": choices["runtimes"] is not None,
        "--batch-sizes": choices["batch_sizes"] is not None,
        "--provider": choices["provider"] != "auto",
    }
    for option, is_given in given.items():
        if is_given:
            raise click.UsageError(f"{option} says how to run a model, --outputs judges one that was run: give one")
