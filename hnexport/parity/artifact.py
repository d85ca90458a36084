"""Compare one loaded artifact with the golden samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import ParityError
from hnexport.parity.batches import filled, member_batches, run_member
from hnexport.parity.cases import Case
from hnexport.parity.checks import (
    SAME_ROW,
    SPOILT_ROW,
    check_members_differ,
    check_placement,
    check_spoilt_row,
    check_unknown_ids,
    row_spread,
)
from hnexport.parity.compare import compare_member
from hnexport.parity.results import ArtifactReport, Check, Comparison
from hnexport.parity.runners import Placed, Runner
from hnexport.parity.tolerances import Tolerance
from hnexport.progress import Progress, no_progress
from hnexport.rows import relative_l2

__all__ = ["eager_errors", "failed_member", "verify_artifact"]

Array = NDArray[np.generic]
Rows = Sequence[Array]
References = Sequence[NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ran:
    """What one member returned, batch by batch.

    Attributes:
        spread: largest relative L2 difference between two rows of one image.
        first: logits `[class]` of the first image.
    """

    batches: Sequence[Sequence[int]]
    rows: Rows
    references: References
    spread: float
    first: Array


@np.errstate(invalid="ignore", over="ignore")  # logits that are not finite are an answer
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

    A member that the runtime cannot run, or that does not get a row for each image, fails where another member can be
    compared and differs too; where none differs, the question cannot be answered.

    Args:
        members: the size of the ensemble (the golden samples may hold fewer).
        batch_sizes: sizes that the artifact runs, see `allowed_sizes`.
        on_failure: called with the worst batch of each member that fails.

    Raises:
        ParityError: the artifact cannot be run and nothing differs, or it returns no logits `[batch, class]`.
    """
    eager = eager_errors(golden)
    comparisons: list[Comparison] = []
    ran: list[_Ran] = []
    broken: dict[int, ParityError] = {}
    for position, member in enumerate(golden.members.tolist()):
        try:
            one = _run_all(name, runner, golden, position, batch_sizes)
        except ParityError as error:
            broken[member] = error
            comparisons.append(failed_member(member))
        else:
            ran.append(one)
            comparisons.append(compare_member(member, one.rows, one.references, eager[member], tolerance))
            if on_failure is not None and not comparisons[-1].passed:
                on_failure(_case(name, runner, golden, position, one))
        progress(f"verify {name}", position + 1, len(golden.members))
    if broken:
        return _partly(name, runner, comparisons, broken)
    checks = _checks(runner, members, golden, ran, tolerance)
    found = np.stack([one.first for one in ran])
    if len(comparisons) > 1:
        checks.append(check_members_differ(found, golden.logits[:, 0], tolerance))
    again = run_member(name, runner, int(golden.members[0]), golden.images[ran[0].batches[-1]])
    return ArtifactReport(
        artifact=name,
        runtime=runner.runtime,
        comparisons=tuple(comparisons),
        checks=tuple(checks),
        ensemble_error=float(
            relative_l2(found.astype(np.float64).mean(axis=0), golden.logits[:, 0].mean(axis=0)),
        ),
        repeat_spread=_repeat_spread(ran[0].rows[-1], again, ran[0].references[-1]),
        not_checked=_not_checked(runner),
    )


def eager_errors(golden: Golden) -> Mapping[int, float]:
    """Float32 eager PyTorch's own relative L2 error by member: the yardstick."""
    errors = golden.eager["logits"].max(axis=1)
    return dict(zip(golden.members.tolist(), errors.tolist(), strict=True))


def failed_member(member: int) -> Comparison:
    """A member without logits to compare."""
    return Comparison(
        member=member,
        worst_absolute=np.inf,
        relative_l2=np.inf,
        multiple_of_eager=np.inf,
        top1_agreement=0.0,
        margin=0.0,
        passed=False,
    )


def _run_all(name: str, runner: Runner, golden: Golden, position: int, sizes: Sequence[int]) -> _Ran:
    """One member with every batch.

    Raises:
        ParityError: the runtime cannot run it, or returns something else than logits.
    """
    member = int(golden.members[position])
    batches = member_batches(len(golden.images), position, sizes, runner.limits)
    rows, references = [], []
    for batch in batches:
        reference = golden.logits[position][batch]
        logits = run_member(name, runner, member, golden.images[batch])
        if logits.dtype.kind != "f":
            raise ParityError(f"{name} returns {logits.dtype}, expected floating-point logits: export the logits")
        if logits.ndim == 2 and logits.shape[1] == reference.shape[1] and len(logits) != len(batch):
            logits = np.full(reference.shape, np.inf, dtype=logits.dtype)  # rows are lost: every one is wrong
        if logits.shape != reference.shape:
            raise ParityError(
                f"{name}, member {member}: expected logits of shape {list(reference.shape)}, found {list(logits.shape)}"
            )
        rows.append(logits)
        references.append(reference)
    return _Ran(
        batches=batches,
        rows=rows,
        references=references,
        spread=row_spread(batches, rows, golden.logits[position]),
        first=_first_image(name, runner, member, golden, batches, rows),
    )


def _checks(runner: Runner, members: int, golden: Golden, ran: Sequence[_Ran], tolerance: Tolerance) -> list[Check]:
    """The checks that this artifact's batch sizes allow; `_not_checked` names the others."""
    worst = max(one.spread for one in ran)
    spoilt, single = check_spoilt_row(runner, golden, tolerance), _is_single(runner)
    checks = [] if single and spoilt.passed else [spoilt]
    if not single:
        detail = f"one image's logits differ by {worst:.1e} (relative L2) between batches"
        checks.insert(0, Check(name=SAME_ROW, passed=worst <= tolerance.row_spread, detail=detail))
    checks.append(check_unknown_ids(runner, members, golden.images[:1]))
    if isinstance(runner, Placed):
        where = check_placement(runner, filled(golden.images[:1], runner.limits))
        checks += [] if where is None else [where]
    return checks


def _not_checked(runner: Runner) -> Mapping[str, str]:
    """What could not be tried, by name, with the reason."""
    found = {}
    if _is_single(runner):
        found = dict.fromkeys(
            (SAME_ROW, SPOILT_ROW), "the file runs batches of one image only: there are no other rows"
        )
    elif runner.limits.batch_sizes is not None and len(runner.limits.batch_sizes) == 1:
        found["other batch sizes"] = f"the file runs batches of {runner.limits.batch_sizes[0]} only"
    if runner.limits.defaults:
        found["other inputs"] = f"left at the file's own values: {', '.join(runner.limits.defaults[:8])}"
    return found


def _is_single(runner: Runner) -> bool:
    return runner.limits.batch_sizes is not None and max(runner.limits.batch_sizes) == 1


def _partly(
    name: str, runner: Runner, comparisons: Sequence[Comparison], broken: Mapping[int, ParityError]
) -> ArtifactReport:
    """The report where some members could not be run.

    Raises:
        ParityError: none of the others differs, so the question stays open.
    """
    member, error = next(iter(broken.items()))
    if all(item.passed for item in comparisons if item.member not in broken):
        raise error
    check = Check(name="every member can be run", passed=False, detail=f"{len(broken)} not, first {member}: {error}")
    return ArtifactReport(
        artifact=name,
        runtime=runner.runtime,
        comparisons=tuple(comparisons),
        checks=(check,),
        ensemble_error=np.inf,
        repeat_spread=np.nan,
    )


def _case(name: str, runner: Runner, golden: Golden, position: int, ran: _Ran) -> Case:
    """The worst batch of a member, to be run again."""
    pairs = zip(ran.rows, ran.references, strict=True)
    worst = int(np.argmax([relative_l2(row.astype(np.float64), known).max() for row, known in pairs]))
    member = int(golden.members[position])
    return Case(
        bundle="",
        artifact=name,
        runtime=runner.runtime,
        member=member,
        eager_error=eager_errors(golden)[member],
        images=golden.images[ran.batches[worst]],
        reference=ran.references[worst],
        found=ran.rows[worst],
    )


def _first_image(
    name: str, runner: Runner, member: int, golden: Golden, batches: Sequence[Sequence[int]], rows: Rows
) -> Array:
    """The member's logits `[class]` of the first image, from a batch that has it where there is one."""
    for batch, logits in zip(batches, rows, strict=True):
        if 0 in batch:
            return logits[list(batch).index(0)]  # type: ignore[no-any-return]
    return run_member(name, runner, member, filled(golden.images[:1], runner.limits))[0]  # type: ignore[no-any-return]


def _repeat_spread(first: Array, second: Array, reference: NDArray[np.float64]) -> float:
    """Largest relative L2 difference of a row between two runs of the same batch."""
    if first.shape != second.shape:
        return float("inf")
    difference = np.linalg.norm(first.astype(np.float64) - second.astype(np.float64), axis=-1)
    spread = float((difference / np.linalg.norm(reference, axis=-1)).max())
    return spread if np.isfinite(spread) else float("inf")
