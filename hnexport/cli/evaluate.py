"""`hnexport evaluate`: what a bundle is worth on data."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli import exit_codes
from hnexport.cli.fit import check_fit, fit_options, left_behind, publish_fit, read_fit
from hnexport.cli.from_factory import apart, ensemble_of_bundle, source_options
from hnexport.cli.options import (
    Integers,
    bundle_argument,
    digest_option,
    json_option,
    provider_option,
    strategy_option,
    trust_option,
    wide_option,
)
from hnexport.cli.pictures import picture_options, reading_options
from hnexport.errors import DifferentError, RuntimeInputError
from hnexport.publishing import Rules, check_place, staged_file

if TYPE_CHECKING:
    from hnexport.ensemble import Ensemble

__all__ = ["evaluate"]

_RULES = Rules(error=RuntimeInputError, called="--page", what="file", forced_by="")

FILE = click.Path(path_type=Path)


@click.command()
@bundle_argument
@click.argument("data", metavar="DATA", type=FILE)
@click.option("--ood", type=FILE, help="Data that do not belong: how well disagreement separates them.")
@click.option("--members", type=Integers(accepts_all=True), help="Some members: 2,3,7 or all. Default: all.")
@click.option("--output", metavar="NAME", help="Which output, where the network has several.")
@click.option("--target", metavar="NAME", help="The array or column with what is right. Default: label, target or y.")
@click.option(
    "--labels", type=FILE, help="Names of the classes in their order, one a line. Default: as the bundle says."
)
@click.option(
    "--runtimes",
    help="Also PyTorch in float64 and these, comma-separated as for verify, for instance onnx,torchscript,pt2; or all.",
)
@source_options
@click.option("--bins", type=click.IntRange(1, 1000), default=15, show_default=True, help="Of the calibration error.")
@fit_options
@click.option("--page", type=FILE, help="Write what was found as a page with diagrams, a new .html file.")
@picture_options
@click.option("--engine", type=click.Choice(["onnxruntime", "openvino"]), default="onnxruntime", show_default=True)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    help="Also in int8, bfloat16, float16 or tf32, comma-separated or several times, beside float32, with which they "
    "are compared.",
)
@click.option(
    "--costs", type=FILE, help="What `hnexport bench BUNDLE --json` printed: members cost so many plain float32 runs."
)
@strategy_option
@provider_option
@trust_option
@digest_option
@wide_option
@json_option
def evaluate(
    bundle: Path,
    data: Path,
    ood: Path | None,
    members: tuple[int, ...] | None,
    output: str | None,
    target: str | None,
    labels: Path | None,
    runtimes: str | None,
    factory: str | None,
    arguments: tuple[str, ...],
    checkpoint: Path | None,
    bins: int,
    page: Path | None,
    precisions: tuple[str, ...],
    costs: Path | None,
    strategy: str | None,
    engine: str,
    provider: str,
    trust: bool,
    digest: str | None,
    wide: bool,
    as_json: bool,
    **further: Any,
) -> None:
    """What each member and the ensemble are worth on DATA, and what their disagreement is good for.

    DATA is a folder with a folder of pictures or .npy files for each class, a .npz file with the inputs by name and
    label, or Parquet. With --out DATA are held-out data, on which a temperature is fitted, and for a stated loss, say
    --max-accuracy-drop 0.005, how sure members, asked one after the other, have to be: evaluate NEW on others. NEW is
    verified before it appears, as a build is; if something differs, nothing appears and the exit code is 1.
    """
    from hnexport.bench.costs import read_costs
    from hnexport.cli import render
    from hnexport.cli.render_evaluate import print_evaluation
    from hnexport.cli.render_parity import print_unpublished
    from hnexport.evaluate import EvaluateOptions, ReadOptions
    from hnexport.evaluate import evaluate as evaluated
    from hnexport.evaluate.page import evaluation_page
    from hnexport.records import to_json

    fit = read_fit(bundle, further, some=bool(members))
    options = EvaluateOptions(
        ood=ood,
        members=members or None,
        output=output,
        bins=bins,
        temperature=fit.temperature,
        until=fit.until,
        least=fit.least,
        precisions=[name.strip() for part in precisions for name in part.split(",")] or ["float32"],
        costs=None if costs is None else read_costs(costs),
        strategy=strategy or "auto",
        provider=provider,
        engine=engine,
        artifacts=tuple(runtimes.split(",")) if runtimes else None,
        trust=trust,
        digest=digest,
        reading=ReadOptions(pictures=reading_options(further), class_names=_class_names(bundle, labels), target=target),
    )
    if page is not None:
        check_place(page, _RULES)
    check_fit(fit, bundle, options)
    source = _source(bundle, runtimes, factory, arguments, checkpoint, as_json)
    try:
        with render.live_progress(quiet=as_json) as progress, apart(as_json):
            found = evaluated(bundle, data, options=options, ensemble=source, progress=progress)
            derived = publish_fit(fit, found, bundle, options, progress)
    except DifferentError as failure:
        report = getattr(failure, "report", None)  # of ParityFailedError, whose module needs torch
        if fit.out is None or report is None:
            raise
        print_unpublished(report, fit.out, as_json=as_json, wide=wide)
        sys.exit(exit_codes.DIFFERENT)
    if page is not None:
        with staged_file(page, _RULES) as new:
            new.write_text(evaluation_page(found), encoding="utf-8", newline="\n")
    if as_json:
        render.print_json(to_json(found) | ({} if derived is None else {"derived": derived}))
    else:
        print_evaluation(found, wide=wide)
    if derived is not None and not as_json:
        render.say(f"published {fit.out}, {derived}", wrap=False)
        if note := left_behind(fit, bundle):
            render.say(note)


def _source(
    bundle: Path,
    runtimes: str | None,
    factory: str | None,
    arguments: tuple[str, ...],
    checkpoint: Path | None,
    as_json: bool,
) -> "Ensemble | None":
    """What the bundle was built from, where a factory is named."""
    from hnexport.installed import require_complete

    if factory is None:
        wrong = "--arg" if arguments else "--checkpoint" if checkpoint is not None else None
        if wrong is not None:
            raise click.UsageError(f"{wrong} goes with --from")
        return None
    if runtimes is None:
        raise click.UsageError("--from is the reference that runtimes are compared with: say --runtimes too")
    require_complete("`hnexport evaluate --from`")
    with apart(as_json):
        return ensemble_of_bundle(bundle, factory, arguments, checkpoint)


def _class_names(bundle: Path, labels: Path | None) -> tuple[str, ...]:
    """Those of the file, one for each class of the only output of logits; without a file, those of the bundle hold."""
    from hnexport.bundle.manifest import read_manifest
    from hnexport.cli.labels import given_class_names

    if labels is None:
        return ()
    (names,) = given_class_names(read_manifest(bundle).signature, labels).values()
    return names
