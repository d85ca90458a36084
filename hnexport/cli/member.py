"""`hnexport member`: one member as a plain file."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli import exit_codes
from hnexport.cli.int8 import Int8Flags, int8_options
from hnexport.cli.options import Integers, bundle_argument, digest_option, json_option, trust_option, wide_option
from hnexport.cli.pictures import picture_options

if TYPE_CHECKING:
    from hnexport.member import WrittenMembers

__all__ = ["member"]


@click.command()
@bundle_argument
@click.argument("members", type=Integers(accepts_all=True))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="One member's NAME.onnx, NAME.pt2 or NAME.pt (TorchScript); otherwise a folder, which gets member-3.onnx ….",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "pt2", "pt"]),
    help="Of the files in a folder.  [default: onnx]",
)
@click.option("--opset", type=int, help="Of an ONNX file, from 17.  [default: the bundle's]")
@click.option("--batch", type=int, help="The one batch size that the file shall run.  [default: any]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "bfloat16", "int8"]),
    default="float32",
    show_default=True,
    help="float16, and bfloat16 of .pt2 and .pt, is for GPUs and processors that have it; int8 of .onnx for CPUs: "
    "QuantizeLinear and DequantizeLinear, calibrated with --calibration.",
)
@int8_options
@picture_options
@click.option("--force", is_flag=True, help="Replace what is there, a folder of members' files as a whole.")
@trust_option
@digest_option
@wide_option
@json_option
def member(
    bundle: Path,
    members: tuple[int, ...],
    out: Path,
    kind: str | None,
    wide: bool,
    as_json: bool,
    opset: int | None,
    batch: int | None,
    force: bool,
    trust: bool,
    digest: str | None,
    precision: str,
    **given: Any,
) -> None:
    """Write MEMBERS (3, or 2,3,7, or all) of a bundle as plain networks: no condition id, weights inside.

    That is the way to a plain network's speed wherever weights cannot be supplied at load: Node, browsers, ExecuTorch,
    TensorRT, CoreML. Each file is compared with the golden samples before it appears; if one differs, nothing appears
    and the exit code is 1.
    """
    from hnexport.cli import render
    from hnexport.cli.render_int8 import print_costs
    from hnexport.cli.render_parity import print_parity, print_unpublished
    from hnexport.member import MemberFormat, MemberOptions, MembersFailedError, write_members
    from hnexport.spec.precision import Precision

    flags = Int8Flags.of(given, precision, judges_half=True)
    options = MemberOptions(
        format=None if kind is None else MemberFormat(kind),
        opset=opset,
        batch=batch,
        force=force,
        trust=trust,
        digest=digest,
        precision=Precision(precision),
    )
    if flags is not None:
        options = replace(options, calibration=flags.samples, int8=flags.options)
    try:
        with render.live_progress(quiet=as_json) as progress:
            written = write_members(bundle, members or None, out, options=options, progress=progress)
    except MembersFailedError as failure:
        print_unpublished(failure.report, out, as_json=as_json, wide=wide)
        sys.exit(exit_codes.DIFFERENT)
    with render.accomplished(f"the members were verified and published: {out}"):
        if as_json:
            _print_json(written, precision)
        else:
            if precision == "int8":
                error = max(one.worst.relative_l2 for one in written.parity.artifacts)
                render.say(
                    f"each file computes what its rounded network gives in float64, outputs at most {error:.1e} off"
                )
                print_costs(written.costs, written.kept, written.judged)
            else:
                print_parity(written.parity, wide=wide)
                if written.costs:
                    print_costs(written.costs, (), written.judged)
            _print_files(written)


def _print_json(written: "WrittenMembers", precision: str) -> None:
    from hnexport.cli import render
    from hnexport.parity.report import report_json

    files = {str(number): str(path) for number, path in written.files.items()}
    beside = [str(path) for path in written.beside]
    told: dict[str, Any] = {"files": files, "weights_beside": beside}
    costs = {str(member): vars(cost) for member, cost in written.costs.items()}
    if precision != "int8":
        told["parity"] = report_json(written.parity)
        if costs:
            told[precision] = {"members": costs, "judged": written.judged}
    else:
        told["int8"] = {"members": costs, "judged": written.judged, "kept": [vars(kept) for kept in written.kept]}
    render.print_json(told)


def _print_files(written: "WrittenMembers") -> None:
    from hnexport.cli import render

    for path in written.beside:
        render.say(f"above 2 GiB: the weights of {path.name} lie in {path.name}.data beside it, which goes with it")
    for path in written.files.values():
        render.say(str(path), wrap=False)
