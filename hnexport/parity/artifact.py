"""Compare one loaded artifact with the golden samples."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import ParityError
from hnexport.parity.batches import (
    DEFAULT_BATCH_SIZES,
    LARGE_BATCHES,
    LARGE_SECONDS,
    filled,
    large_batch,
    member_batches,
    run_member,
    run_rows,
)
from hnexport.parity.cases import Case
from hnexport.parity.checks import (
    SAME_ROW,
    SPOILT_BATCH,
    SPOILT_ROW,
    check_placement,
    check_same_rows,
    check_spoilt_row,
    check_unknown_ids,
)
from hnexport.parity.compare import Reference, checked_outputs, compare_member
from hnexport.parity.conditions import check_conditions
from hnexport.parity.first_sample import ensemble_error, first_rows, members_checks
from hnexport.parity.open_axes import check_open_axes
from hnexport.parity.results import ArtifactReport, Check, Comparison
from hnexport.parity.runners import Placed, Runner
from hnexport.parity.tolerances import Tolerance
from hnexport.progress import Progress, no_progress
from hnexport.rows import chosen_rows, flat_rows, relative_l2, taken
from hnexport.spec import Signature

__all__ = ["Plan", "eager_errors", "failed_member", "verify_artifact"]

Array = NDArray[np.generic]
Outputs = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How an artifact is tried.

    Attributes:
        members: the size of the ensemble (the golden samples may hold fewer).
        batch_sizes: sizes that every member runs, see `allowed_sizes`.
        every_sample: whether every member meets all samples, as far as its batch sizes allow otherwise.
        large: whether one member runs `LARGE_BATCHES` too.
        sample_seconds: about what one sample costs, by an estimate that is the same each time; None looks at the clock.
        on_failure: called with the worst batch of each member that fails.
    """

    members: int
    batch_sizes: tuple[int, ...]
    tolerance: Tolerance
    every_sample: bool = True
    large: bool = True
    sample_seconds: float | None = None
    progress: Progress = no_progress
    on_failure: Callable[[Case], object] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ran:
    """What one member returned, batch by batch.

    Attributes:
        first: the outputs of the first sample, `[element]` each.
    """

    reference: Reference
    batches: Sequence[Sequence[int]]
    found: Sequence[Outputs]
    first: Outputs


@np.errstate(invalid="ignore", over="ignore")  # outputs that are not finite are an answer
def verify_artifact(name: str, runner: Runner, signature: Signature, golden: Golden, plan: Plan) -> ArtifactReport:
    """Run every member with every batch size, and check the properties that every artifact must have.

    A member that the runtime cannot run, or that does not get a row for each sample, fails where another member can be
    compared and differs too; where none differs, the question cannot be answered.

    Raises:
        ParityError: the artifact cannot be run and nothing differs, or it returns other outputs than the signature's.
    """
    plan = dataclasses.replace(plan, tolerance=dataclasses.replace(plan.tolerance, functions=runner.limits.functions))
    comparisons: list[Comparison] = []
    ran: list[_Ran] = []
    broken: dict[int, ParityError] = {}
    for position, member in enumerate(golden.members.tolist()):
        try:
            one = _run_all(name, runner, Reference.of(golden, position, signature), golden, position, plan)
        except ParityError as error:
            broken[member] = error
            comparisons.append(failed_member(member, str(error)))
        else:
            ran.append(one)
            comparisons.append(compare_member(one.reference, one.batches, one.found, plan.tolerance))
            if plan.on_failure is not None and not comparisons[-1].passed:
                plan.on_failure(_case(name, runner, golden, one))
        plan.progress(f"verify {name}", position + 1, len(golden.members))
    if broken:
        return _partly(name, runner, comparisons, broken)
    spread = _repeat_spread(name, runner, golden, ran[0])
    checks = _checks(runner, signature, golden, ran, plan)
    run = functools.partial(_run_resized, name, runner, signature)
    checks += check_open_axes(name, run, signature, golden, plan.tolerance)
    checks += check_conditions(name, run, signature, golden, plan.tolerance, runner.limits.unguarded)
    found = {output.name: np.stack([one.first[output.name] for one in ran]) for output in signature.outputs}
    checks += members_checks(signature, golden, found, plan.tolerance)
    return ArtifactReport(
        artifact=name,
        runtime=runner.runtime,
        comparisons=tuple(comparisons),
        checks=tuple(checks),
        ensemble_error=ensemble_error(signature, golden, found),
        repeat_spread=spread,
        not_checked=_not_checked(runner),
        batch_sizes=tuple(sorted({len(batch) for batch in ran[0].batches})),
    )


def eager_errors(golden: Golden) -> Mapping[int, float]:
    """Float32 eager PyTorch's own relative L2 error by member: the yardstick. The largest of its outputs and rows."""
    worst = np.max([errors.max(axis=1) for errors in golden.eager.values()], axis=0)
    return dict(zip(golden.members.tolist(), worst.tolist(), strict=True))


def failed_member(member: int, reason: str) -> Comparison:
    """A member without outputs to compare, and why there are none."""
    return Comparison(
        member=member,
        worst_absolute=np.inf,
        relative_l2=np.inf,
        multiple_of_eager=np.inf,
        top1_agreement=0.0,
        margin=0.0,
        passed=False,
        reason=reason,
    )


def _run_all(name: str, runner: Runner, reference: Reference, golden: Golden, position: int, plan: Plan) -> _Ran:
    """One member with every batch; the first with large ones too.

    Raises:
        ParityError: the runtime cannot run it, or returns other outputs than the signature's.
    """
    signature, samples = reference.signature, golden.samples
    batches = member_batches(samples, position, plan.batch_sizes, runner.limits, every_sample=plan.every_sample)
    found: list[Outputs] = []

    def run(batch: Sequence[int]) -> float:
        start = time.perf_counter()
        outputs = run_member(name, runner, reference.member, taken(signature, golden.inputs, batch))
        found.append(checked_outputs(name, signature, outputs, reference.outputs, batch))
        return time.perf_counter() - start

    seconds = [run(batch) for batch in batches]
    if plan.large and position == 0 and any(item.has_batch for item in signature.inputs):
        size, took = len(batches[-1]), seconds[-1]
        for large in (size for size in LARGE_BATCHES if runner.limits.runs(size) and size > samples):
            each = took / size if plan.sample_seconds is None else plan.sample_seconds
            if large == LARGE_BATCHES[0] or each * large <= LARGE_SECONDS:
                batches.append(large_batch(samples, large))
                size, took = large, run(batches[-1])
    first = _first_sample(name, runner, reference, golden, batches, found)
    return _Ran(reference=reference, batches=batches, found=found, first=first)


def _run_resized(name: str, runner: Runner, signature: Signature, member: int, inputs: Outputs) -> Outputs:
    return run_rows(name, runner, member, signature, inputs)


def _checks(runner: Runner, signature: Signature, golden: Golden, ran: Sequence[_Ran], plan: Plan) -> list[Check]:
    """The checks that this artifact's batch sizes allow; `_not_checked` names the others."""
    first = list(range(SPOILT_BATCH))
    known = (found for batch, found in zip(ran[0].batches, ran[0].found, strict=True) if list(batch) == first)
    spoilt = check_spoilt_row(runner, signature, golden, plan.tolerance, next(known, None))
    single = _is_single(runner)
    checks = [] if single and spoilt.passed else [spoilt]
    if not single:
        checks.insert(0, check_same_rows([(one.reference, one.batches, one.found) for one in ran], plan.tolerance))
    if not runner.limits.one_member:
        checks.append(check_unknown_ids(runner, plan.members, signature, golden.inputs))
    if isinstance(runner, Placed):
        where = check_placement(runner, filled(signature, taken(signature, golden.inputs, [0]), runner.limits))
        checks += [] if where is None else [where]
    return checks


def _not_checked(runner: Runner) -> Mapping[str, str]:
    """What could not be tried, by name, with the reason."""
    found = {}
    if _is_single(runner):
        found = dict.fromkeys(
            (SAME_ROW, SPOILT_ROW), "the file runs batches of one sample only: there are no other rows"
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
    if all(item.passed for item in comparisons if item.member not in broken):
        raise next(iter(broken.values()))
    detail = f"{len(broken)} of {len(comparisons)} cannot, the first is {min(broken)}"
    check = Check(name="every member can be run", passed=False, detail=detail)
    return ArtifactReport(
        artifact=name,
        runtime=runner.runtime,
        comparisons=tuple(comparisons),
        checks=(check,),
        ensemble_error=np.inf,
        repeat_spread=np.nan,
    )


def _case(name: str, runner: Runner, golden: Golden, ran: _Ran) -> Case:
    """The worst batch of a member, to be run again."""
    reference, signature = ran.reference, ran.reference.signature

    def error(position: int) -> float:
        return max(
            float(relative_l2(*(flat_rows(output, one[output.name]) for one in _pair(ran, position))).max(initial=0.0))
            for output in signature.outputs
            if output.has_batch
        )

    worst = max(range(len(ran.batches)), key=error) if any(o.has_batch for o in signature.outputs) else 0
    batch = ran.batches[worst]
    found, known = _pair(ran, worst)

    def rows(arrays: Outputs) -> dict[str, Array]:
        held = (output for output in signature.outputs if output.name in arrays)
        return {output.name: chosen_rows(output, arrays[output.name], batch) for output in held}

    return Case(
        bundle="",
        artifact=name,
        runtime=runner.runtime,
        member=reference.member,
        inputs=taken(signature, golden.inputs, batch),
        reference=known,
        found=found,
        eager=rows(reference.eager),  # type: ignore[arg-type]
        noise=rows(reference.noise),  # type: ignore[arg-type]
    )


def _pair(ran: _Ran, position: int) -> tuple[Outputs, Outputs]:
    """What was found with a batch, and its reference."""
    known = {
        output.name: chosen_rows(output, ran.reference.outputs[output.name], ran.batches[position])
        for output in ran.reference.signature.outputs
    }
    return ran.found[position], known


def _first_sample(
    name: str,
    runner: Runner,
    reference: Reference,
    golden: Golden,
    batches: Sequence[Sequence[int]],
    found: Sequence[Outputs],
) -> Outputs:
    """The member's outputs of the first sample: from the batch of all where there is one, or from one that has it."""
    whole = list(range(reference.samples))
    for batch, outputs in sorted(zip(batches, found, strict=True), key=lambda pair: list(pair[0]) != whole):
        if 0 in batch:
            return first_rows(reference.signature, outputs, list(batch).index(0))
    given = filled(reference.signature, taken(reference.signature, golden.inputs, [0]), runner.limits)
    return first_rows(reference.signature, run_member(name, runner, reference.member, given))


def _repeat_spread(name: str, runner: Runner, golden: Golden, ran: _Ran) -> float:
    """Largest relative L2 difference of a row between two runs of the same batch, the largest of the small ones."""
    signature, sizes = ran.reference.signature, [len(batch) for batch in ran.batches]
    again_with = sizes.index(max((size for size in sizes if size <= max(DEFAULT_BATCH_SIZES)), default=min(sizes)))
    given = taken(signature, golden.inputs, ran.batches[again_with])
    again = run_member(name, runner, ran.reference.member, given)
    worst, (first, known) = 0.0, _pair(ran, again_with)
    for output in signature.outputs:
        if not output.is_floating or first[output.name].shape != np.shape(again[output.name]):
            continue
        one, two = (flat_rows(output, np.asarray(found[output.name])) for found in (first, again))
        if np.array_equal(one, two, equal_nan=True):
            continue
        base = flat_rows(output, known[output.name]).astype(np.float64)
        difference = two.astype(np.float64) - one.astype(np.float64)
        worst = max(worst, float(relative_l2(base + difference, base).max()))
    return worst
