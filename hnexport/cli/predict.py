"""`hnexport predict`: what the members say about samples, and how much they disagree."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from hnexport.cli.options import (
    Integers,
    NamedFile,
    UntilRule,
    bundle_argument,
    digest_option,
    json_option,
    provider_option,
    strategy_option,
    wide_option,
)
from hnexport.cli.pictures import picture_options
from hnexport.cli.predict_dataset import scoring_options
from hnexport.text import shorten

if TYPE_CHECKING:
    from hnexport.runtime import LoadedEnsemble, Until

__all__ = ["predict"]

FILE = click.Path(path_type=Path)


@click.command()
@bundle_argument
@click.argument("images", metavar="[IMAGE...]", nargs=-1, type=FILE)
@click.option(
    "--input",
    "inputs",
    metavar="NAME=FILE",
    multiple=True,
    type=NamedFile(),
    help="A .npy file with an input, for networks with several: --input tokens=tokens.npy --input weights=w.npy. "
    "One .npz file with the inputs' names can be given as IMAGE instead.",
)
@click.option("--member", type=int, help="One member.")
@click.option("--members", type=Integers(accepts_all=True), help="Several: 2,3,7 or all. Default: all.")
@click.option(
    "--until",
    type=UntilRule(),
    metavar="RULE",
    help="Run members in their order, for each sample no more than it takes: exact or votes (the rest cannot change "
    "the answer of the mean, or of the votes), 0.8 (until the mean probability of a class is that), or bundle (the "
    "rule and the order that `hnexport evaluate --out` chose).",
)
@click.option("--labels", type=FILE, help="Names of the classes, one a line. Default: as the bundle says.")
@picture_options
@click.option(
    "--out",
    type=FILE,
    help="Write what the members say, a new .npz (with one output also .npy), members first; .parquet of a data set.",
)
@click.option("--engine", type=click.Choice(["onnxruntime", "openvino"]), default="onnxruntime", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "float16", "bfloat16", "int8"]),
    default="float32",
    show_default=True,
    help="tf32 and float16 on CUDA, float16 and bfloat16 with OpenVINO, int8 on the CPU, after hnexport tune.",
)
@strategy_option
@provider_option
@digest_option
@wide_option
@json_option
@scoring_options
def predict(
    bundle: Path,
    images: tuple[Path, ...],
    inputs: tuple[tuple[str, Path], ...],
    member: int | None,
    members: tuple[int, ...] | None,
    until: "Until | Literal['bundle'] | None",
    labels: Path | None,
    out: Path | None,
    engine: str,
    precision: str,
    strategy: str | None,
    provider: str,
    digest: str | None,
    wide: bool,
    as_json: bool,
    **pictures: Any,
) -> None:
    """What each member says of samples: pictures (PNG, JPEG and others), .npy as the graph takes it, or --input.

    Of logits these are class probabilities; with several members also their mean and how much they disagree:
    predictive entropy and mutual information in nats, and how many members vote for a class. Of values, mean and
    variance over the members.

    With --out FILE.parquet IMAGE is a data set (a folder, Parquet, Arrow or .npy), which is scored in parts: the same
    command goes on after a crash.
    """
    from hnexport.cli import render
    from hnexport.cli.pictures import told
    from hnexport.cli.predict_arrays import check_target, write_arrays
    from hnexport.cli.predict_inputs import read_inputs
    from hnexport.cli.predict_json import as_json_value
    from hnexport.cli.render_predict import Shown, print_predictions, used_told
    from hnexport.runtime import load
    from hnexport.runtime.anytime import bundle_rule, check_anytime
    from hnexport.runtime.options import own_provider

    if member is not None and members is not None:
        raise click.UsageError("give --member or --members, not both")
    if member is not None and until is not None:
        raise click.UsageError("--until is for several members: leave --member out, or give --members")
    if not images and not inputs:
        raise click.UsageError("Missing argument 'IMAGE...': give files, or --input NAME=FILE.npy for each input.")
    ensemble = load(
        bundle,
        provider=own_provider(precision, provider, engine),
        engine=engine,
        strategy=strategy or ("auto" if precision == "int8" else "generated"),
        precision=precision,
        digest=digest,
    )
    check_target(out, ensemble.signature)
    names = _class_names(ensemble, labels)
    if until is not None:
        check_anytime(ensemble.signature)
    if until == "bundle":
        bundle_rule(ensemble.manifest, members or "all")
    samples = read_inputs(ensemble.manifest, images, inputs, pictures)
    if member is not None:
        members = (member,)
    found = ensemble.predict_mean(samples.inputs, members=members or "all", until=until)
    outputs = found if isinstance(found, dict) else {ensemble.signature.outputs[0].name: found}
    shown = Shown(signature=ensemble.signature, outputs=outputs, samples=samples.names, labels=names)
    if out is not None:
        write_arrays(out, ensemble.signature, outputs)
    if as_json:
        render.print_json(as_json_value(shown, word=samples.word, normalised=samples.normalised))
        return
    print_predictions(shown, wide=wide)
    for line in (used_told(outputs), told(samples.normalised), _labels_told(ensemble, names, labels)):
        if line:
            render.say(line)


def _class_names(ensemble: "LoadedEnsemble", labels: Path | None) -> dict[str, tuple[str, ...]]:
    """The names of the classes by output: those of the file, else those that the bundle says."""
    from hnexport.cli.labels import given_class_names
    from hnexport.images import distinct

    if labels is None:
        return {output: distinct(names) for output, names in ensemble.usage.class_names.items()}
    return given_class_names(ensemble.signature, labels)


def _labels_told(ensemble: "LoadedEnsemble", names: dict[str, tuple[str, ...]], labels: Path | None) -> str:
    """That the file's names are others than the bundle's, where they are."""
    own = {output: said for output, said in ensemble.usage.class_names.items() if names.get(output, said) != said}
    if labels is None or not own:
        return ""
    return f"classes: as {labels} names them; the bundle says {shorten(', '.join(next(iter(own.values()))), 80)}"
