"""`evaluate`: data through every source, and what the answers are worth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Identified, Manifest, read_identified
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.answers import Source, answers, runtime_source
from hnexport.evaluate.classification import classify, compared, rows_of
from hnexport.evaluate.data import Data, read_data
from hnexport.evaluate.results import Evaluation, FittedTemperature, SourceEvaluation
from hnexport.evaluate.targets import ReadOptions
from hnexport.evaluate.temperature import fit_temperature
from hnexport.evaluate.values import compared_values, regress, value_rows
from hnexport.installed import require_complete, require_extra
from hnexport.members import check_members
from hnexport.progress import Progress, no_progress
from hnexport.runtime import load
from hnexport.runtime.anytime import can_stop
from hnexport.runtime.validation import require_count
from hnexport.spec import OutputKind, OutputSpec, Signature
from hnexport.spelling import spelled

if TYPE_CHECKING:
    from hnexport.ensemble import Ensemble

__all__ = ["EvaluateOptions", "evaluate"]

MOST_BINS = 1000


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How to evaluate.

    Attributes:
        ood: data that do not belong, without what is right of them.
        members: those to evaluate; None takes all.
        output: which, where the network has several.
        bins: of the expected calibration error, of equal width.
        temperature: also fit one, on the first source's answers; see `hnexport.evaluate.derive.temper_bundle`.
        provider, engine: as `hnexport.runtime.load` takes them.
        artifacts: also evaluate PyTorch in float64, and these artifacts as `verify` names them, or `all`; needs all of
            hnexport. None evaluates the runtime alone.
        trust: run TorchScript and `.pt2` files in this process, whoever made them.
        digest: the bundle must have this one.
        reading: how data are read.
    """

    ood: str | PathLike[str] | None = None
    members: Sequence[int] | None = None
    output: str | None = None
    bins: int = 15
    temperature: bool = False
    provider: str = "auto"
    engine: str = "onnxruntime"
    artifacts: Sequence[str] | None = None
    trust: bool = False
    digest: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)


def evaluate(
    bundle: str | PathLike[str],
    data: str | PathLike[str],
    *,
    options: EvaluateOptions | None = None,
    ensemble: "Ensemble | None" = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """What a bundle is worth on some data: each member and the ensemble.

    Args:
        data: a folder with a folder for each class, `.npz`, or Parquet; docs/evaluate.md says how they look.
        ensemble: what the bundle was built from: with `artifacts`, the reference in float64 is computed by it. Without,
            by the halves where the bundle holds them, otherwise by the program of `model.pt2`.
        progress: called after each member of each source.

    Raises:
        BundleError, ProviderError: the bundle cannot be loaded.
        ParityError: an artifact does not exist or cannot be run.
        RuntimeInputError: the data cannot be read, are not what the network takes, or an answer is not finite.
        IncompleteError: scikit-learn is not installed.
    """
    options = options or EvaluateOptions()
    require_extra("evaluating", "sklearn", "evaluate")
    require_count("bins", options.bins)
    if options.bins > MOST_BINS:
        raise RuntimeInputError(f"bins must be at most {MOST_BINS}, found {options.bins}")
    folder = Path(bundle)
    found = read_identified(folder, options.digest)
    signature = found.manifest.signature
    output = _output(signature, options.output)
    if options.temperature and output.axis is None:
        raise RuntimeInputError(f"{output.name} is a value: only logits have a temperature")
    members = check_members("all" if options.members is None else options.members, found.manifest.members)
    own, others = _read(data, found.manifest, output, options)
    not_run: dict[str, str] = {}
    sources = _sources(folder, found, options, ensemble, not_run)
    evaluated, fitted = _evaluated(sources, signature, output, members, own, others, options, progress)
    return _evaluation(found, output, members, own, others, evaluated, options, not_run, fitted)


def _read(
    data: str | PathLike[str], manifest: Manifest, output: OutputSpec, options: EvaluateOptions
) -> tuple[Data, Data | None]:
    """The data, and those that do not belong."""
    own, others = read_data(Path(data), manifest, output, options.reading), None
    if options.ood is not None:
        others = read_data(Path(options.ood), manifest, output, options.reading, targets=False)
    pictures = own.normalised is not None or (others is not None and others.normalised is not None)
    if options.reading.pictures.get("normalisation") is not None and not pictures:
        raise RuntimeInputError(
            "mean and std say how pictures become an input, and the data hold arrays, which are taken as they are: "
            f"leave {spelled('normalisation', '--mean and --std')} out"
        )
    return own, others


def _sources(
    folder: Path, found: Identified, options: EvaluateOptions, ensemble: "Ensemble | None", not_run: dict[str, str]
) -> Iterator[Source]:
    """PyTorch in float64 first where artifacts are asked for, then the runtime, then they: one at a time."""
    others = None
    if options.artifacts is not None:
        require_complete("evaluating artifacts")
        from hnexport.evaluate.artifacts import ArtifactSources, check_artifacts

        check_artifacts(options.artifacts)
        others = ArtifactSources(
            bundle=folder,
            found=found,
            asked=options.artifacts,
            provider=options.provider,
            trust=options.trust,
            ensemble=ensemble,
            not_run=not_run,
        )
        reference = others.reference()
        if reference is not None:
            yield reference
    yield runtime_source(load(folder, provider=options.provider, engine=options.engine, digest=options.digest))
    if others is not None:
        yield from others.artifacts()


def _evaluated(
    sources: Iterator[Source],
    signature: Signature,
    output: OutputSpec,
    members: Sequence[int],
    data: Data,
    others: Data | None,
    options: EvaluateOptions,
    progress: Progress,
) -> tuple[list[SourceEvaluation], FittedTemperature | None]:
    """The first source is what the others are compared with."""
    first: NDArray[Any] | None = None
    done: list[SourceEvaluation] = []
    fitted: FittedTemperature | None = None
    targets, is_value, bins = np.asarray(data.targets), output.axis is None, options.bins
    anytime = can_stop(signature)

    def asked(source: Source, samples: Data) -> NDArray[Any]:
        found = answers(source, signature, output, members, samples, progress)
        return value_rows(found) if output.axis is None else rows_of(found, output.axis)

    for source in sources:
        found, foreign = asked(source, data), None if others is None else asked(source, others)
        if options.temperature and first is None:
            fitted = fit_temperature(found, targets.reshape(-1), bins, output)
        first = found if first is None else first
        compare = compared_values if is_value else compared
        done.append(
            SourceEvaluation(
                name=source.name,
                runtime=source.runtime,
                classification=None
                if is_value
                else classify(found, targets.reshape(-1), bins, foreign, anytime=anytime),
                regression=regress(found, targets.reshape(data.samples, -1), foreign) if is_value else None,
                difference=compare(found, first, done[0].name) if done else None,
            )
        )
    return done, fitted


def _evaluation(
    found: Identified,
    output: OutputSpec,
    members: Sequence[int],
    data: Data,
    others: Data | None,
    sources: Sequence[SourceEvaluation],
    options: EvaluateOptions,
    not_run: Mapping[str, str],
    fitted: FittedTemperature | None,
) -> Evaluation:
    return Evaluation(
        bundle=found.manifest.name,
        digest=found.digest,
        output=output.name,
        data=data.place,
        samples=data.samples,
        ood="" if others is None else others.place,
        ood_samples=0 if others is None else others.samples,
        members=tuple(members),
        class_names=data.class_names,
        class_order=data.class_order,
        normalised=data.normalised,
        ood_normalised=None if others is None else others.normalised,
        bins=options.bins,
        sources=tuple(sources),
        not_run=dict(not_run),
        temperature=fitted,
    )


def _output(signature: Signature, asked: str | None) -> OutputSpec:
    """The output that is meant: the one that is named, or the only one of logits, or the only one at all.

    Raises:
        RuntimeInputError: it does not exist, cannot be evaluated, or several can.
    """
    able = [one for one in signature.outputs if one.is_floating and one.has_batch]
    logits = [one for one in able if one.kind is OutputKind.LOGITS]
    names = ", ".join(one.name for one in able) or "none"
    if asked is not None:
        chosen = next((one for one in able if one.name == asked), None)
        if chosen is None:
            raise RuntimeInputError(f"{asked!r} is no output that can be evaluated: choose among {names}")
        return chosen
    for some in (logits, able):
        if len(some) == 1:
            return some[0]
    said = spelled("output=", "--output")
    raise RuntimeInputError(f"say with {said} which output is meant: those that can be evaluated are {names}")
