"""`verify`: every artifact of a bundle, every member, several batch sizes and kinds of image."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.bundle.restore import restore_tensors
from hnexport.errors import ParityError
from hnexport.parity.compare import compare_member, relative_l2, spread
from hnexport.parity.ensemble import ENSEMBLES, verify_ensemble
from hnexport.parity.reference import checked_members, compute_golden
from hnexport.parity.results import ArtifactReport, Check, Comparison, ParityReport
from hnexport.parity.runners import RUNNERS, Runner, resolve_provider
from hnexport.parity.tolerances import TOLERANCES, Precision, Tolerance
from hnexport.progress import Progress, no_progress

__all__ = ["DEFAULT_BATCH_SIZES", "VerifyOptions", "verify", "verify_artifact"]

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
    chosen = {
        name
        for name, file_format in formats.items()
        if file_format in manifest.formats and (options.artifacts is None or name in options.artifacts)
    }
    single = tuple(
        _run_artifact(name, bundle, manifest, golden, options, progress) for name in RUNNERS if name in chosen
    )
    together = tuple(
        _run_ensemble(name, bundle, manifest, golden, options, progress) for name in ENSEMBLES if name in chosen
    )
    return ParityReport(
        bundle=manifest.name,
        members=manifest.spec.members,
        members_checked=tuple(golden.members.tolist()),
        sampled=len(golden.members) < manifest.spec.members,
        batch_sizes=options.batch_sizes,
        image_kinds=golden.kinds,
        tolerance=TOLERANCES[options.precision],
        eager=tuple(_eager_errors(golden).values()),
        artifacts=single + together,
        not_run={name: "its format is not in the bundle" for name in formats if name not in chosen},
        environment=environment(),
    )


def environment() -> dict[str, str]:
    """What the results depend on besides the bundle."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "torch": torch.__version__,
        "torch threads": str(torch.get_num_threads()),
    }


def verify_artifact(
    name: str,
    runner: Runner,
    members: int,
    golden: Golden,
    batch_sizes: Sequence[int],
    tolerance: Tolerance,
    progress: Progress = no_progress,
) -> ArtifactReport:
    """Compare one loaded artifact with the golden samples.

    Args:
        members: the size of the ensemble (the golden samples may hold fewer).
    """
    eager = _eager_errors(golden)
    comparisons: list[Comparison] = []
    row_spread, same_image = 0.0, []
    for position, member in enumerate(golden.members.tolist()):
        batches = [_batch(golden, position, size) for size in batch_sizes]
        rows = [np.asarray(runner.run(member, golden.images[batch])) for batch in batches]
        references = [golden.logits[position][batch] for batch in batches]
        comparisons.append(_compared(member, rows, references, eager[member], tolerance))
        row_spread = max(row_spread, _row_spread(batches, rows, golden.logits[position]))
        same_image.append(_first_image(runner, member, golden, batches, rows))
        progress(f"verify {name}", position + 1, len(golden.members))
    checks = [
        Check(
            name="a row does not depend on the others",
            passed=row_spread <= tolerance.row_spread,
            detail=f"one image's logits differ by {row_spread:.1e} (relative L2) between batch sizes",
        ),
        _check_nan_row(runner, golden),
        _check_unknown_ids(runner, members, golden.images[:1]),
    ]
    if len(comparisons) > 1:
        checks.append(_check_members_differ(np.stack(same_image), golden.logits[:, 0]))
    return ArtifactReport(
        artifact=name,
        runtime=runner.runtime,
        comparisons=tuple(comparisons),
        checks=tuple(checks),
    )


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
        tensors = restore_tensors(bundle, manifest)
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
    )


def _rows(golden: Golden, rows: Sequence[int]) -> Golden:
    return Golden(
        images=golden.images,
        kinds=golden.kinds,
        members=golden.members[rows],
        logits=golden.logits[rows],
        eager=golden.eager[rows],
    )


def _run_artifact(
    name: str, bundle: Path, manifest: Manifest, golden: Golden, options: VerifyOptions, progress: Progress
) -> ArtifactReport:
    runner = RUNNERS[name][1](bundle, manifest, resolve_provider(options.provider))
    tolerance = TOLERANCES[options.precision]
    return verify_artifact(name, runner, manifest.spec.members, golden, options.batch_sizes, tolerance, progress)


def _run_ensemble(
    name: str, bundle: Path, manifest: Manifest, golden: Golden, options: VerifyOptions, progress: Progress
) -> ArtifactReport:
    progress(f"verify {name}", 0, 1)
    ensemble = ENSEMBLES[name][1](bundle, resolve_provider(options.provider))
    report = verify_ensemble(name, ensemble, manifest, golden, TOLERANCES[options.precision])
    progress(f"verify {name}", 1, 1)
    return report


def _compared(
    member: int,
    rows: Sequence[NDArray[np.generic]],
    references: Sequence[NDArray[np.float64]],
    eager_error: float,
    tolerance: Tolerance,
) -> Comparison:
    for row, reference in zip(rows, references, strict=True):
        if row.shape != reference.shape:
            raise ParityError(f"member {member}: expected logits of shape {reference.shape}, found {row.shape}")
    return compare_member(member, rows, references, eager_error, tolerance)


def _eager_errors(golden: Golden) -> Mapping[int, float]:
    errors = relative_l2(golden.eager, golden.logits).max(axis=1)
    return dict(zip(golden.members.tolist(), errors.tolist(), strict=True))


def _batch(golden: Golden, position: int, size: int) -> list[int]:
    """Which images make up a batch: every member starts at another one, so that all meet all batch sizes."""
    return [(position + offset) % len(golden.images) for offset in range(size)]


def _row_spread(
    batches: Sequence[Sequence[int]], rows: Sequence[NDArray[np.generic]], reference: NDArray[np.float64]
) -> float:
    """The largest relative L2 difference between two logits of one image in different batches."""
    seen: dict[int, NDArray[np.generic]] = {}
    worst = 0.0
    for batch, logits in zip(batches, rows, strict=True):
        for image, row in zip(batch, logits, strict=True):
            other = seen.setdefault(image, row)
            difference = row.astype(np.float64) - other
            worst = max(worst, float(relative_l2(reference[image] + difference, reference[image])))
    return worst


def _check_nan_row(runner: Runner, golden: Golden) -> Check:
    """A NaN image spoils its own row and no other."""
    name = "a NaN image makes only its own row NaN"
    images = golden.images[:3].copy()
    if not np.issubdtype(images.dtype, np.floating):
        return Check(name=name, passed=True, detail="the graph takes integers, which cannot be NaN")
    images[1] = np.nan
    member = int(golden.members[0])
    logits = np.asarray(runner.run(member, images))
    clean = np.asarray(runner.run(member, golden.images[:3]))
    own = bool(np.isnan(logits[1]).all())
    others = bool(np.isfinite(logits[[0, 2]]).all()) and np.allclose(logits[[0, 2]], clean[[0, 2]], rtol=1e-4)
    detail = "as it should be" if own and others else f"own row all NaN: {own}; other rows unchanged: {others}"
    return Check(name=name, passed=own and others, detail=detail)


def _check_unknown_ids(runner: Runner, members: int, image: NDArray[np.generic]) -> Check:
    """Condition ids that do not exist give NaN logits only."""
    ids = (-1, members, 2**63 - 1)
    wrong = [cond_id for cond_id in ids if not np.isnan(np.asarray(runner.run(cond_id, image))).all()]
    detail = f"checked {', '.join(map(str, ids))}" if not wrong else f"cond_id {wrong[0]} returned numbers"
    return Check(name="ids that do not exist give NaN", passed=not wrong, detail=detail)


def _first_image(
    runner: Runner,
    member: int,
    golden: Golden,
    batches: Sequence[Sequence[int]],
    rows: Sequence[NDArray[np.generic]],
) -> NDArray[np.generic]:
    """The member's logits `[class]` of the first image, from a batch that has it where there is one."""
    for batch, logits in zip(batches, rows, strict=True):
        if 0 in batch:
            return logits[list(batch).index(0)]  # type: ignore[no-any-return]
    return np.asarray(runner.run(member, golden.images[:1]))[0]  # type: ignore[no-any-return]


def _check_members_differ(found: NDArray[np.generic], reference: NDArray[np.float64]) -> Check:
    """The artifact's members are as far apart as the reference's (a baked-in condition makes them equal).

    Args:
        found: logits `[member, class]` of one image.
        reference: likewise.
    """
    expected, actual = spread(reference), spread(found)
    if expected == 0:
        detail = f"the reference's members are all the same; these are {actual:.1e} apart"
        return Check(name="members differ as the reference's do", passed=actual == 0, detail=detail)
    ratio = actual / expected
    equal = ratio < 1e-6
    detail = f"their spread is {ratio:.6f} of the reference's" + ("; the condition seems baked in" if equal else "")
    return Check(name="members differ as the reference's do", passed=bool(abs(ratio - 1.0) < 1e-3), detail=detail)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
