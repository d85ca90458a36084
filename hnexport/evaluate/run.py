"""`evaluate`: data through every source, and what the answers are worth."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnexport.bundle.manifest import Identified, Manifest, read_identified
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.answers import Source, runtime_source
from hnexport.evaluate.anytime import Asked
from hnexport.evaluate.data import Data, read_data
from hnexport.evaluate.judged import Judged, Task, judged
from hnexport.evaluate.options import EvaluateOptions
from hnexport.evaluate.results import Evaluation
from hnexport.installed import require_complete, require_extra
from hnexport.members import check_members
from hnexport.progress import Progress, no_progress
from hnexport.runtime import load
from hnexport.runtime.anytime import bundle_rule, check_anytime
from hnexport.runtime.int8 import require_int8
from hnexport.runtime.options import LoadOptions, Precision, own_provider
from hnexport.runtime.validation import choice, require_count
from hnexport.spec import OutputKind, OutputSpec, Signature
from hnexport.spelling import spelled

if TYPE_CHECKING:
    from hnexport.ensemble import Ensemble

__all__ = ["evaluate"]

MOST_BINS = 1000


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
        data: a folder with a folder for each class, `.npz`, or Parquet; docs/howto/evaluate.md says how they look.
        ensemble: what the bundle was built from: with `artifacts`, the reference in float64 is computed by it. Without,
            by the halves where the bundle holds them, otherwise by the program of `model.pt2`.
        progress: called after each call of a member: how many answers a source has given, of how many.

    Raises:
        BundleError, ProviderError: the bundle cannot be loaded.
        ParityError: an artifact does not exist or cannot be run.
        RuntimeInputError: an option is wrong; the data cannot be read or are not what the network takes; an answer is
            not finite; or no temperature or rule can be found on these data.
        IncompleteError: scikit-learn is not installed, or artifacts are asked for where torch or onnx are not.
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
    if options.until is not None:
        check_anytime(signature)
    members = check_members("all" if options.members is None else options.members, found.manifest.members)
    precisions = _precisions(options, found.manifest, folder)
    own, others = _read(data, found.manifest, output, options)
    not_run: dict[str, str] = {}
    sources = _sources(folder, found, options, precisions, ensemble, not_run)
    task = Task(
        signature=signature,
        output=output,
        members=members,
        data=own,
        others=others,
        options=options,
        precision=precisions[0],
        asked=_asked(found.manifest, members, options),
        progress=progress,
    )
    return _evaluation(found, task, judged(sources, task), not_run)


def _precisions(options: EvaluateOptions, manifest: Manifest, folder: Path) -> tuple[Precision, ...]:
    """Those that are named, each once: what they lack is said before data are read.

    Raises:
        RuntimeInputError: there is no such precision, it does not go with the engine, its graphs are missing, or none
            is named.
    """
    found = tuple(dict.fromkeys(choice("precision", Precision, one) for one in options.precisions))
    if not found:
        raise RuntimeInputError("name at least one precision: float32")
    for precision in found:
        LoadOptions(**_loading(precision, options))
    if Precision.INT8 in found:
        require_int8(manifest, folder)
    return found


def _loading(precision: Precision, options: EvaluateOptions) -> dict[str, Any]:
    """How to load the bundle in a precision."""
    bound = precision in (Precision.INT8, Precision.FLOAT16)  # to a strategy of its own
    return {
        "provider": own_provider(precision, options.provider, options.engine),
        "engine": options.engine,
        "strategy": "auto" if bound else options.strategy,
        "precision": precision,
    }


def _asked(manifest: Manifest, members: tuple[int, ...], options: EvaluateOptions) -> Asked:
    """In the bundle's own order, and by its rule too, where there are such and nobody chose other members."""
    if manifest.anytime is None or options.members is not None:
        return Asked(order=tuple(range(len(members))))
    rule, order = bundle_rule(manifest)
    return Asked(order=order, bundle=rule)


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
    folder: Path,
    found: Identified,
    options: EvaluateOptions,
    precisions: Sequence[Precision],
    ensemble: "Ensemble | None",
    not_run: dict[str, str],
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
    for precision in dict.fromkeys((Precision.FLOAT32, *precisions)):
        yield runtime_source(load(folder, digest=options.digest, **_loading(precision, options)))
    if others is not None:
        yield from others.artifacts()


def _evaluation(found: Identified, task: Task, worth: Judged, not_run: Mapping[str, str]) -> Evaluation:
    data, others = task.data, task.others
    return Evaluation(
        bundle=found.manifest.name,
        digest=found.digest,
        output=task.output.name,
        data=data.place,
        samples=data.samples,
        ood="" if others is None else others.place,
        ood_samples=0 if others is None else others.samples,
        members=task.members,
        class_names=data.class_names,
        class_order=data.class_order,
        normalised=data.normalised,
        ood_normalised=None if others is None else others.normalised,
        bins=task.options.bins,
        sources=worth.sources,
        not_run=dict(not_run),
        temperature=worth.temperature,
        order=tuple(task.members[place] for place in task.asked.order),
        until=worth.until,
        costs="" if task.options.costs is None else "; ".join([task.options.costs.told, *worth.untimed]),
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
