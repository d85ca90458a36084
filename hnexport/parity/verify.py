"""`verify`: every artifact of a bundle, every member, several batch sizes and kinds of image."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import GOLDEN_FILE, Golden
from hnexport.bundle.manifest import Manifest, read_identified
from hnexport.errors import NotRunError, ParityError
from hnexport.parity.artifact import eager_errors, verify_artifact
from hnexport.parity.batches import DEFAULT_BATCH_SIZES, allowed_sizes, run_rows
from hnexport.parity.cases import read_case, write_case
from hnexport.parity.checks import check_strict
from hnexport.parity.chosen import chosen_golden, golden_rows
from hnexport.parity.compare import compare_member
from hnexport.parity.ensemble import ENSEMBLES, Ensemble, in_batches, verify_ensemble
from hnexport.parity.environment import environment
from hnexport.parity.foreign import golden_index, read_index
from hnexport.parity.foreign_outputs import OutputsFolder
from hnexport.parity.not_run import NOT_ASKED
from hnexport.parity.precision import computing_in
from hnexport.parity.programs import PROGRAM_FILES, sharing_programs
from hnexport.parity.providers import obstacle
from hnexport.parity.reference import sample_members
from hnexport.parity.results import ArtifactReport, Comparison, ParityReport, Selection
from hnexport.parity.runners import (
    RUNNERS,
    Device,
    Inspectable,
    Runner,
    Together,
    bundle_runner,
    choose_runners,
    file_runner,
    resolve_provider,
)
from hnexport.parity.signature import check_precision
from hnexport.parity.tolerances import TOLERANCES, Precision
from hnexport.parity.trusted import trusted_tensors
from hnexport.parity.weight_checks import check_generated, check_stored
from hnexport.pipeline import Pipeline
from hnexport.progress import Progress, no_progress
from hnexport.runtime.obstacles import quick_obstacle
from hnexport.trust import Trust, bundle_trust

__all__ = ["VerifyOptions", "replay", "verify", "verify_file", "verify_outputs"]


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        members: the members to compare; None takes those of the golden samples (all, or a sample above 32).
        batch_sizes: each member runs once with each; None takes the usual ones, or those that a file is limited to.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        artifacts: which of `RUNNERS` and `ENSEMBLES`, or `all` that are installed; None takes those that a build
            verifies, as far as the bundle's formats allow.
        precision: by which tolerance to judge, and on CUDA whether TF32 is used.
        save_failures: a folder for failing cases, to be run again with `replay`.
        trust: run TorchScript and `.pt2` files in this process, whoever made them; otherwise only those of bundles that
            this user built (see `hnexport.trust`), and all others in a confined process.
        digest: the bundle must have this one; see `hnexport.bundle.digest`.
    """

    members: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] | None = None
    provider: str = "auto"
    artifacts: tuple[str, ...] | None = None
    precision: Precision = Precision.FLOAT32
    save_failures: Path | None = None
    trust: bool = False
    digest: str | None = None


@sharing_programs()
def verify(bundle: Path, options: VerifyOptions | None = None, progress: Progress = no_progress) -> ParityReport:
    """Compare every artifact of a bundle with the reference in its golden samples.

    Args:
        progress: called after each member of each artifact.

    Raises:
        BundleError: a file is missing or damaged.
        ProviderError: the provider cannot be had.
        ParityError: a member does not exist, a batch size is below 1, or an artifact cannot be run.
    """
    options = options or VerifyOptions()
    manifest, trust = _identified(bundle, options)
    check_files(bundle, manifest, manifest.files)
    golden = _chosen(bundle, manifest, options, trust, progress)
    formats = {name: file_format for name, (file_format, _) in (*RUNNERS.items(), *ENSEMBLES.items())}
    names, not_run = choose_runners(formats, manifest, options.artifacts)
    device = _device(options)
    pipeline = Pipeline(manifest.spec, trusted_tensors(bundle, manifest, golden.fingerprints, trust))

    def one(name: str) -> ArtifactReport:
        runner = bundle_runner(name, bundle, manifest, device, trust)
        return _verify_one(name, runner, pipeline, golden, options, progress)

    def several(name: str) -> ArtifactReport:
        return _verify_together(name, bundle, manifest, trust, golden, options, progress)

    with computing_in(options.precision):
        reports, refused = _verify_each(
            {
                **{name: functools.partial(one, name) for name in names if name in RUNNERS},
                **{name: functools.partial(several, name) for name in names if name in ENSEMBLES},
            }
        )
    for provider in ("cuda", "tensorrt"):
        if provider != device.provider:
            tried = options.provider == "auto" and provider == "cuda"
            why = obstacle(provider) if tried else quick_obstacle(provider)  # a trial takes seconds
            not_run[f"onnx on {provider}"] = str(why or f"{NOT_ASKED}--provider {provider}")
    return _report(manifest, golden, options, reports, not_run, refused)


@sharing_programs()
def verify_file(
    path: Path, bundle: Path, options: VerifyOptions | None = None, progress: Progress = no_progress
) -> ParityReport:
    """Compare any ONNX, TorchScript or `.pt2` file of the same signature with a bundle's golden samples.

    The file may be a converted, simplified or hand-made one: its weights are not looked at, only what it computes. A
    file that is limited to some batch sizes is tried with those, and one with the signature of `ensemble.onnx` with
    all members at once.

    Raises:
        BundleError: the bundle's golden samples cannot be read.
        ProviderError: the provider cannot be had.
        ParityError: the file is no such file, or has another signature.
    """
    options = options or VerifyOptions()
    manifest, trust = _identified(bundle, options)
    check_files(bundle, manifest, [GOLDEN_FILE])
    golden = _chosen(bundle, manifest, options, trust, progress)
    try:
        with computing_in(options.precision):
            runner = file_runner(path, manifest, _device(options), trust)
            check_precision(path.name, runner.limits, options.precision)
            if runner.limits.together and isinstance(runner, Together):
                report = _together(path.name, runner, manifest, golden, options)
                sizes: tuple[int, ...] = (len(golden.images),)
            else:
                sizes = allowed_sizes(path.name, runner.limits, options.batch_sizes)
                report = _judged(path.name, runner, manifest.spec.members, golden, options, progress)
    except NotRunError as error:
        return _report(manifest, golden, options, (), {}, {path.name: str(error)})
    return dataclasses.replace(_report(manifest, golden, options, (report,), {}, {}), batch_sizes=sizes)


def verify_outputs(folder: Path, bundle: Path, options: VerifyOptions | None = None) -> ParityReport:
    """Judge what a foreign runtime made of the inputs that `write_golden_inputs` wrote.

    Members whose logits are missing or cannot be read are refused by name; the others are compared.

    Args:
        folder: has `member-ID/logits.npy` or `.raw`; where it has `golden.json` too, that names the members.

    Raises:
        BundleError: the bundle's golden samples cannot be read.
        ParityError: no member's logits can be read, or the folder belongs to another bundle.
    """
    options = options or VerifyOptions()
    manifest, trust = _identified(bundle, options)
    check_files(bundle, manifest, [GOLDEN_FILE])
    index = read_index(folder, bundle)
    if index is not None and options.members is None:
        options = dataclasses.replace(options, members=index.members)
    golden = _chosen(bundle, manifest, options, trust, no_progress)
    outputs = OutputsFolder(folder, golden_index(bundle, manifest, golden))
    save = functools.partial(write_case, options.save_failures) if options.save_failures is not None else None
    report, members, refused = outputs.judge(golden, TOLERANCES[options.precision], options.precision, save)
    if report is None:
        raise ParityError(next(iter(refused.values())))
    judged = golden_rows(golden, [row for row, member in enumerate(golden.members.tolist()) if member in members])
    whole = _report(manifest, judged, options, (report,), {}, refused)
    return dataclasses.replace(whole, batch_sizes=(len(golden.images),))


def replay(path: Path, target: Path, bundle: Path, options: VerifyOptions | None = None) -> Comparison:
    """Run a failing case again.

    Args:
        path: a file that `save_failures` wrote.
        target: the bundle itself, for the artifact of the case, or a model file.

    Raises:
        ParityError: the case or the model cannot be read.
    """
    options, case = options or VerifyOptions(), read_case(path)
    manifest, trust = _identified(bundle, options)
    device = _device(options)
    if target.is_dir() and case.artifact not in RUNNERS:
        raise ParityError(f"the case is of the file {case.artifact}: give that file, and the bundle with --bundle")
    with computing_in(options.precision):
        if target.is_dir():
            runner = bundle_runner(case.artifact, target, manifest, device, trust)
        else:
            runner = file_runner(target, manifest, device, trust)
        check_precision(target.name, runner.limits, options.precision)
        if runner.limits.together:
            raise ParityError(f"{target.name} runs several members at once, the case is of one: verify the file itself")
        logits = run_rows(target.name, runner, case.member, case.images)
    if logits.shape != case.reference.shape:
        raise ParityError(f"{target.name}: expected logits of shape {case.reference.shape}, found {logits.shape}")
    return compare_member(case.member, [logits], [case.reference], case.eager_error, TOLERANCES[options.precision])


def _identified(bundle: Path, options: VerifyOptions) -> tuple[Manifest, Trust]:
    """The manifest of the bundle that is meant, and whom to trust."""
    found = read_identified(bundle, options.digest)
    return found.manifest, bundle_trust(found.manifest, found.digest, asked=options.trust)


def _device(options: VerifyOptions) -> Device:
    return Device(provider=resolve_provider(options.provider), tf32=options.precision is Precision.TF32)


def _report(
    manifest: Manifest,
    golden: Golden,
    options: VerifyOptions,
    reports: tuple[ArtifactReport, ...],
    not_run: dict[str, str],
    refused: dict[str, str],
) -> ParityReport:
    return ParityReport(
        bundle=manifest.name,
        members=manifest.spec.members,
        members_checked=tuple(golden.members.tolist()),
        selection=_selection(manifest.spec.members, golden.members.tolist()),
        batch_sizes=options.batch_sizes or DEFAULT_BATCH_SIZES,
        image_kinds=golden.kinds,
        precision=options.precision,
        tolerance=TOLERANCES[options.precision],
        eager=tuple(eager_errors(golden).values()),
        artifacts=reports,
        not_run=not_run,
        refused=refused,
        environment=environment(),
    )


def _selection(members: int, compared: Sequence[int]) -> Selection:
    """How the members came about: a build and the golden samples keep no other trace of it than which they are."""
    if set(compared) == set(range(members)):
        return Selection.ALL
    return Selection.SAMPLED if tuple(compared) == sample_members(members) else Selection.NAMED


def _verify_together(
    name: str,
    bundle: Path,
    manifest: Manifest,
    trust: Trust,
    golden: Golden,
    options: VerifyOptions,
    progress: Progress,
) -> ArtifactReport:
    """Verify an artifact that runs all members in one call."""
    progress(f"verify {name}", 0, 1)
    ensemble = ENSEMBLES[name][1](bundle, manifest, _device(options), trust)
    report = verify_ensemble(name, ensemble, manifest, golden, TOLERANCES[options.precision])
    progress(f"verify {name}", 1, 1)
    return report


def _verify_each(
    artifacts: Mapping[str, Callable[[], ArtifactReport]],
) -> tuple[tuple[ArtifactReport, ...], dict[str, str]]:
    """The report of each artifact, one in memory at a time, and why those that cannot be run were not.

    Raises:
        ParityError: one cannot be run, and none of the others differs: the question stays open.
    """
    reports: list[ArtifactReport] = []
    refused: dict[str, str] = {}
    broken: dict[str, ParityError] = {}
    for name, run in artifacts.items():
        same = next((known for known in refused if PROGRAM_FILES.get(known) == PROGRAM_FILES.get(name, "")), None)
        if same is not None:  # it is the same file
            refused[name] = refused[same]
            continue
        try:
            reports.append(run())
        except NotRunError as error:
            refused[name] = str(error)
        except ParityError as error:
            broken[name] = error
    if broken and all(report.passed for report in reports):
        raise next(iter(broken.values()))
    return tuple(reports), {**refused, **{name: str(error) for name, error in broken.items()}}


def _together(
    name: str, runner: Together, manifest: Manifest, golden: Golden, options: VerifyOptions
) -> ArtifactReport:
    """Verify a file that runs all members in one call."""
    if options.batch_sizes is not None:
        raise ParityError(f"{name} is judged with all golden images at once: leave out --batch-sizes")
    if options.save_failures is not None:
        raise ParityError(f"{name} runs several members at once, a failing case is of one: leave out --save-failure")
    run = in_batches(runner.run_together, runner.limits.batch_sizes)
    return verify_ensemble(name, Ensemble(runner.runtime, run), manifest, golden, TOLERANCES[options.precision])


def _verify_one(
    name: str,
    runner: Runner,
    pipeline: Pipeline,
    golden: Golden,
    options: VerifyOptions,
    progress: Progress,
) -> ArtifactReport:
    tolerance, members = TOLERANCES[options.precision], golden.members.tolist()
    checks = []
    if isinstance(runner, Inspectable):
        checks.append(check_stored(runner, golden.fingerprints))
        step = functools.partial(_count, progress, f"weights of {name}", len(members))
        checks.append(check_generated(runner, pipeline, members, tolerance, step))
    report = _judged(name, runner, pipeline.spec.members, golden, options, progress)
    return dataclasses.replace(report, checks=(*checks, *report.checks))


def _judged(
    name: str, runner: Runner, members: int, golden: Golden, options: VerifyOptions, progress: Progress
) -> ArtifactReport:
    folder, save = options.save_failures, None
    if folder is not None:
        save = functools.partial(write_case, folder)
    tolerance = TOLERANCES[options.precision]
    sizes = allowed_sizes(name, runner.limits, options.batch_sizes)
    report = verify_artifact(name, runner, members, golden, sizes, tolerance, progress, save)
    if resolve_provider(options.provider) == "cpu" or options.precision is not Precision.FLOAT32:
        return report
    return dataclasses.replace(report, checks=(*report.checks, check_strict(report.worst.relative_l2)))


def _count(progress: Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)


def _chosen(bundle: Path, manifest: Manifest, options: VerifyOptions, trust: Trust, progress: Progress) -> Golden:
    sizes = options.batch_sizes
    if sizes is not None and (not sizes or min(sizes) < 1):
        raise ParityError(f"batch sizes must be at least 1, found {list(sizes)}")
    return chosen_golden(bundle, manifest, options.members, trust, progress)
