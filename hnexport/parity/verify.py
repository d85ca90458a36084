"""`verify`: every artifact of a bundle, every member, several batch sizes and kinds of image."""

import dataclasses
import functools
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import GOLDEN_FILE, Golden, read_golden
from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.errors import ParityError
from hnexport.parity.artifact import eager_errors, verify_artifact
from hnexport.parity.cases import read_case, write_case
from hnexport.parity.checks import check_strict
from hnexport.parity.compare import compare_member
from hnexport.parity.ensemble import ENSEMBLES, verify_ensemble
from hnexport.parity.precision import computing_in
from hnexport.parity.providers import obstacle
from hnexport.parity.reference import checked_members, compute_golden
from hnexport.parity.results import ArtifactReport, Comparison, ParityReport
from hnexport.parity.runners import RUNNERS, Device, Inspectable, Runner, choose_runners, file_runner, resolve_provider
from hnexport.parity.tolerances import TOLERANCES, Precision
from hnexport.parity.trusted import trusted_tensors
from hnexport.parity.weight_checks import check_generated, check_stored
from hnexport.pipeline import Pipeline
from hnexport.progress import Progress, no_progress

__all__ = ["DEFAULT_BATCH_SIZES", "VerifyOptions", "replay", "verify", "verify_file"]

DEFAULT_BATCH_SIZES = (1, 3, 6)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        members: the members to compare; None takes those of the golden samples (all, or a sample above 32).
        batch_sizes: each member runs once with each.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        artifacts: which of `RUNNERS` and `ENSEMBLES`, or `all` that are installed; None takes those that a build
            verifies, as far as the bundle's formats allow.
        precision: by which tolerance to judge, and on CUDA whether TF32 is used.
        save_failures: a folder for failing cases, to be run again with `replay`.
    """

    members: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] = DEFAULT_BATCH_SIZES
    provider: str = "auto"
    artifacts: tuple[str, ...] | None = None
    precision: Precision = Precision.FLOAT32
    save_failures: Path | None = None


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
    manifest = read_manifest(bundle)
    check_files(bundle, manifest, manifest.files)
    golden = _golden(bundle, manifest, options, progress)
    formats = {name: file_format for name, (file_format, _) in (*RUNNERS.items(), *ENSEMBLES.items())}
    names, not_run = choose_runners(formats, manifest, options.artifacts)
    device = _device(options)
    pipeline = Pipeline(manifest.spec, trusted_tensors(bundle, manifest, golden.fingerprints))
    with computing_in(options.precision):
        reports = tuple(  # one artifact in memory at a time
            _verify_one(name, RUNNERS[name][1](bundle, manifest, device), pipeline, golden, options, progress)
            for name in names
            if name in RUNNERS
        )
        reports += tuple(
            _verify_together(name, bundle, manifest, golden, options, progress) for name in names if name in ENSEMBLES
        )
    for provider in ("cuda", "tensorrt"):
        if provider != device.provider:
            not_run[f"onnx on {provider}"] = obstacle(provider) or f"not asked for: --provider {provider}"
    return _report(manifest, golden, options, reports, not_run)


def verify_file(
    path: Path, bundle: Path, options: VerifyOptions | None = None, progress: Progress = no_progress
) -> ParityReport:
    """Compare any ONNX, TorchScript or `.pt2` file of the same signature with a bundle's golden samples.

    The file may be a converted, simplified or hand-made one: its weights are not looked at, only what it computes.

    Raises:
        BundleError: the bundle's golden samples cannot be read.
        ProviderError: the provider cannot be had.
        ParityError: the file is no such file, or has another signature.
    """
    options = options or VerifyOptions()
    manifest = read_manifest(bundle)
    check_files(bundle, manifest, [GOLDEN_FILE])
    golden = _golden(bundle, manifest, options, progress)
    with computing_in(options.precision):
        runner = file_runner(path, manifest, _device(options))
        report = _judged(path.name, runner, manifest.spec.members, golden, options, progress)
    return _report(manifest, golden, options, (report,), {})


def replay(path: Path, target: Path, bundle: Path, options: VerifyOptions | None = None) -> Comparison:
    """Run a failing case again.

    Args:
        path: a file that `save_failures` wrote.
        target: the bundle itself, for the artifact of the case, or a model file.

    Raises:
        ParityError: the case or the model cannot be read.
    """
    options, case, manifest = options or VerifyOptions(), read_case(path), read_manifest(bundle)
    device = _device(options)
    if target.is_dir() and case.artifact not in RUNNERS:
        raise ParityError(f"the case is of the file {case.artifact}: give that file, and the bundle with --bundle")
    with computing_in(options.precision):
        if target.is_dir():
            runner = RUNNERS[case.artifact][1](target, manifest, device)
        else:
            runner = file_runner(target, manifest, device)
        logits = np.asarray(runner.run(case.member, case.images))
    return compare_member(case.member, [logits], [case.reference], case.eager_error, TOLERANCES[options.precision])


def _device(options: VerifyOptions) -> Device:
    return Device(provider=resolve_provider(options.provider), tf32=options.precision is Precision.TF32)


def _report(
    manifest: Manifest,
    golden: Golden,
    options: VerifyOptions,
    reports: tuple[ArtifactReport, ...],
    not_run: dict[str, str],
) -> ParityReport:
    return ParityReport(
        bundle=manifest.name,
        members=manifest.spec.members,
        members_checked=tuple(golden.members.tolist()),
        sampled=len(golden.members) < manifest.spec.members,
        batch_sizes=options.batch_sizes,
        image_kinds=golden.kinds,
        precision=options.precision,
        tolerance=TOLERANCES[options.precision],
        eager=tuple(eager_errors(golden).values()),
        artifacts=reports,
        not_run=not_run,
        environment=environment(),
    )


def _verify_together(
    name: str, bundle: Path, manifest: Manifest, golden: Golden, options: VerifyOptions, progress: Progress
) -> ArtifactReport:
    """Verify an artifact that runs all members in one call."""
    progress(f"verify {name}", 0, 1)
    ensemble = ENSEMBLES[name][1](bundle, _device(options))
    report = verify_ensemble(name, ensemble, manifest, golden, TOLERANCES[options.precision])
    progress(f"verify {name}", 1, 1)
    return report


def environment() -> dict[str, str]:
    """What the results depend on besides the bundle."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "torch": torch.__version__,
        "torch threads": str(torch.get_num_threads()),
    }


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
    report = verify_artifact(name, runner, members, golden, options.batch_sizes, tolerance, progress, save)
    if resolve_provider(options.provider) == "cpu" or options.precision is not Precision.FLOAT32:
        return report
    return dataclasses.replace(report, checks=(*report.checks, check_strict(report.worst.relative_l2)))


def _count(progress: Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)


def _golden(bundle: Path, manifest: Manifest, options: VerifyOptions, progress: Progress) -> Golden:
    """The golden samples of the members that were asked for; what the bundle lacks is computed."""
    if any(size < 1 for size in options.batch_sizes) or not options.batch_sizes:
        raise ParityError(f"batch sizes must be at least 1, found {list(options.batch_sizes)}")
    golden = read_golden(bundle, manifest)
    if options.members is None:
        return golden
    members = checked_members(manifest.spec.members, options.members)
    held = golden.members.tolist()
    missing = [member for member in members if member not in held]
    if missing:
        tensors = trusted_tensors(bundle, manifest, golden.fingerprints)
        computed = compute_golden(
            manifest.spec,
            tensors,
            missing,
            golden.images,
            progress=progress,
        )
        golden = _joined(golden, computed)
    rows = [golden.members.tolist().index(member) for member in members]
    return _rows(golden, rows)


def _joined(first: Golden, second: Golden) -> Golden:
    return Golden(
        images=first.images,
        kinds=first.kinds,
        members=np.concatenate([first.members, second.members]),
        logits=np.concatenate([first.logits, second.logits]),
        eager=np.concatenate([first.eager, second.eager]),
        fingerprints=first.fingerprints,
    )


def _rows(golden: Golden, rows: Sequence[int]) -> Golden:
    return Golden(
        images=golden.images,
        kinds=golden.kinds,
        members=golden.members[rows],
        logits=golden.logits[rows],
        eager=golden.eager[rows],
        fingerprints=golden.fingerprints,
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
