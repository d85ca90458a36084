"""Compare one loaded artifact with the golden samples."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import HnexportError, ParityError
from hnexport.parity.cases import Case
from hnexport.parity.checks import (
    check_members_differ,
    check_placement,
    check_spoilt_row,
    check_unknown_ids,
    row_spread,
)
from hnexport.parity.compare import compare_member, relative_l2
from hnexport.parity.results import ArtifactReport, Check, Comparison
from hnexport.parity.runners import Placed, Runner
from hnexport.parity.tolerances import Tolerance
from hnexport.progress import Progress, no_progress

__all__ = ["eager_errors", "verify_artifact"]

Array = NDArray[np.generic]


def verify_artifact(
    name: str,
    runner: Runner,
    members: int,
    golden: Golden,
    batch_sizes: Sequence[int],
    tolerance: Tolerance,
    progress: Progress = no_progress,
    on_failure: Callable[[Case], object] | None = None,
) -> ArtifactReport:
    """Run every member with every batch size, and check the properties that every artifact must have.

    Args:
        members: the size of the ensemble (the golden samples may hold fewer).
        on_failure: called with the worst batch of each member that fails.

    Raises:
        ParityError: the artifact cannot be run, or returns logits of another shape.
    """
    eager = eager_errors(golden)
    comparisons: list[Comparison] = []
    worst_spread, repeat_spread, first_rows = 0.0, 0.0, []
    for position, member in enumerate(golden.members.tolist()):
        batches = [_batch(golden, position, size) for size in batch_sizes]
        rows = [_run(name, runner, member, golden.images[batch]) for batch in batches]
        references = [golden.logits[position][batch] for batch in batches]
        comparisons.append(_compared(name, member, rows, references, eager[member], tolerance))
        if on_failure is not None and not comparisons[-1].passed:
            worst = _worst_batch(rows, references)
            on_failure(
                Case(
                    bundle="",
                    artifact=name,
                    runtime=runner.runtime,
                    member=member,
                    eager_error=eager[member],
                    images=golden.images[batches[worst]],
                    reference=references[worst],
                    found=rows[worst],
                )
            )
        worst_spread = max(worst_spread, row_spread(batches, rows, golden.logits[position]))
        if position == 0:
            again = _run(name, runner, member, golden.images[batches[-1]])
            repeat_spread = _repeat_spread(rows[-1], again, references[-1])
        first_rows.append(_first_image(name, runner, member, golden, batches, rows))
        progress(f"verify {name}", position + 1, len(golden.members))
    checks = [
        Check(
            name="a row does not depend on the others",
            passed=worst_spread <= tolerance.row_spread,
            detail=f"one image's logits differ by {worst_spread:.1e} (relative L2) between batch sizes",
        ),
        check_spoilt_row(runner, golden, tolerance),
        check_unknown_ids(runner, members, golden.images[:1]),
    ]
    if isinstance(runner, Placed) and (where := check_placement(runner, golden.images[:1])) is not None:
        checks.append(where)
    found = np.stack(first_rows)
    if len(comparisons) > 1:
        checks.append(check_members_differ(found, golden.logits[:, 0], tolerance))
    return ArtifactReport(
        artifact=name,
        runtime=runner.runtime,
        comparisons=tuple(comparisons),
        checks=tuple(checks),
        ensemble_error=_ensemble_error(found, golden.logits[:, 0]),
        repeat_spread=repeat_spread,
    )


def eager_errors(golden: Golden) -> Mapping[int, float]:
    """Float32 eager PyTorch's own relative L2 error by member: the yardstick."""
    errors = relative_l2(golden.eager, golden.logits).max(axis=1)
    return dict(zip(golden.members.tolist(), errors.tolist(), strict=True))


def _worst_batch(rows: Sequence[Array], references: Sequence[NDArray[np.float64]]) -> int:
    errors = [relative_l2(row.astype(np.float64), known).max() for row, known in zip(rows, references, strict=True)]
    return int(np.argmax(errors))


def _run(name: str, runner: Runner, member: int, images: Array) -> Array:
    try:
        return np.asarray(runner.run(member, images))
    except HnexportError:
        raise
    except Exception as error:  # each runtime has its own
        raise ParityError(
            f"{name} on {runner.runtime} cannot run member {member} with a batch of {len(images)}: {error}"
        ) from error


def _compared(
    name: str,
    member: int,
    rows: Sequence[Array],
    references: Sequence[NDArray[np.float64]],
    eager_error: float,
    tolerance: Tolerance,
) -> Comparison:
    for row, reference in zip(rows, references, strict=True):
        if row.shape != reference.shape:
            raise ParityError(
                f"{name}, member {member}: expected logits of shape {list(reference.shape)}, found {list(row.shape)}"
            )
    return compare_member(member, rows, references, eager_error, tolerance)


def _batch(golden: Golden, position: int, size: int) -> list[int]:
    """Which images make up a batch: every member starts at another one, so that all meet all batch sizes."""
    return [(position + offset) % len(golden.images) for offset in range(size)]


def _first_image(
    name: str, runner: Runner, member: int, golden: Golden, batches: Sequence[Sequence[int]], rows: Sequence[Array]
) -> Array:
    """The member's logits `[class]` of the first image, from a batch that has it where there is one."""
    for batch, logits in zip(batches, rows, strict=True):
        if 0 in batch:
            return logits[list(batch).index(0)]  # type: ignore[no-any-return]
    return _run(name, runner, member, golden.images[:1])[0]  # type: ignore[no-any-return]


def _repeat_spread(first: Array, second: Array, reference: NDArray[np.float64]) -> float:
    """Largest relative L2 difference of a row between two runs of the same batch."""
    difference = np.linalg.norm(first.astype(np.float64) - second.astype(np.float64), axis=-1)
    spread = float((difference / np.linalg.norm(reference, axis=-1)).max())
    return spread if np.isfinite(spread) else float("inf")


def _ensemble_error(found: Array, reference: NDArray[np.float64]) -> float:
    """Relative L2 error of the logits' mean over the members, for the first image."""
    return float(relative_l2(found.astype(np.float64).mean(axis=0), reference.mean(axis=0)))
