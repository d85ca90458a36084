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
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.errors import ParityError
from hnexport.parity.artifact import eager_errors, verify_artifact
from hnexport.parity.ensemble import ENSEMBLES, verify_ensemble
from hnexport.parity.reference import checked_members, compute_golden
from hnexport.parity.results import ArtifactReport, ParityReport
from hnexport.parity.runners import RUNNERS, Inspectable, Runner, resolve_provider
from hnexport.parity.tolerances import TOLERANCES, Precision
from hnexport.parity.trusted import trusted_tensors
from hnexport.parity.weight_checks import check_generated, check_stored
from hnexport.pipeline import Pipeline
from hnexport.progress import Progress, no_progress

__all__ = ["DEFAULT_BATCH_SIZES", "VerifyOptions", "verify"]

DEFAULT_BATCH_SIZES = (1, 3, 6)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        members: the members to compare; None takes those of the golden samples (all, or a sample above 32).
        batch_sizes: each member runs once with each.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        artifacts: which of `RUNNERS` and `ENSEMBLES`; None takes all that the bundle's formats allow.
    """

    members: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] = DEFAULT_BATCH_SIZES
    provider: str = "auto"
    artifacts: tuple[str, ...] | None = None
    precision: Precision = Precision.FLOAT32


def verify(bundle: Path, options: VerifyOptions | None = None, progress: Progress = no_progress) -> ParityReport:
    """Compare every artifact of a bundle with the reference in its golden samples.

    Args:
        progress: called after each member of each artifact.

    Raises:
        BundleError: a file is missing or damaged.
        ProviderError: the provider cannot be had.
        ParityError: a member does not exist, or a batch size is below 1.
    """
    options = options or VerifyOptions()
    manifest = read_manifest(bundle)
    check_files(bundle, manifest, manifest.files)
    golden = _golden(bundle, manifest, options, progress)
    formats = {name: file_format for name, (file_format, _) in (*RUNNERS.items(), *ENSEMBLES.items())}
    artifacts = [
        name
        for name, file_format in formats.items()
        if file_format in manifest.formats and (options.artifacts is None or name in options.artifacts)
    ]
    provider = resolve_provider(options.provider)
    pipeline = Pipeline(manifest.spec, trusted_tensors(bundle, manifest, golden.fingerprints))
    reports = tuple(  # one artifact in memory at a time
        _verify_one(name, RUNNERS[name][1](bundle, manifest, provider), pipeline, golden, options, progress)
        for name in artifacts
        if name in RUNNERS
    )
    together = tuple(
        _verify_together(name, bundle, manifest, golden, options, progress) for name in ENSEMBLES if name in artifacts
    )
    return ParityReport(
        bundle=manifest.name,
        members=manifest.spec.members,
        members_checked=tuple(golden.members.tolist()),
        sampled=len(golden.members) < manifest.spec.members,
        batch_sizes=options.batch_sizes,
        image_kinds=golden.kinds,
        tolerance=TOLERANCES[options.precision],
        eager=tuple(eager_errors(golden).values()),
        artifacts=reports + together,
        not_run={name: "its format is not in the bundle" for name in formats if name not in artifacts},
        environment=environment(),
    )


def _verify_together(
    name: str, bundle: Path, manifest: Manifest, golden: Golden, options: VerifyOptions, progress: Progress
) -> ArtifactReport:
    """Verify an artifact that runs all members in one call."""
    progress(f"verify {name}", 0, 1)
    ensemble = ENSEMBLES[name][1](bundle, resolve_provider(options.provider))
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
    report = verify_artifact(name, runner, pipeline.spec.members, golden, options.batch_sizes, tolerance, progress)
    return dataclasses.replace(report, checks=(*checks, *report.checks))


def _count(progress: Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)


def _golden(bundle: Path, manifest: Manifest, options: VerifyOptions, progress: Progress) -> Golden:
    """The golden samples of the members that were asked for; what the bundle lacks is computed."""
    if any(size < 1 for size in options.batch_sizes) or not options.batch_sizes:
        raise ParityError(f"batch sizes must be at least 1, found {list(options.batch_sizes)}")
    golden = read_golden(bundle)
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
