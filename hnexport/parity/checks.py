"""Properties that every artifact must have, whatever its outputs are worth."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import HnexportError
from hnexport.parity.batches import filled, first_samples, run_member
from hnexport.parity.compare import Reference, spread
from hnexport.parity.members import unknown_ids
from hnexport.parity.results import Check
from hnexport.parity.runners import Marked, Placed, Runner
from hnexport.parity.spoiling import SPOILS, spoilable, spoilt
from hnexport.parity.tolerances import EAGER_FLOOR, TF32_SHOWS, Tolerance
from hnexport.rows import LARGEST_NOISE, NOISE_MULTIPLE, batch_size, flat_rows, relative_l2, taken
from hnexport.spec import OutputSpec, Signature, TensorSpec
from hnexport.text import number_of

__all__ = [
    "SAME_ROW",
    "SPOILT_BATCH",
    "SPOILT_ROW",
    "UNKNOWN_IDS",
    "check_members_differ",
    "check_placement",
    "check_same_rows",
    "check_spoilt_row",
    "check_strict",
    "check_unknown_ids",
    "lost_by_maxima",
    "spoilt_by",
]

Array = NDArray[np.generic]
Outputs = Mapping[str, Array]

SPOILT_BATCH = 3
"""Samples, of which the second is spoilt."""
SPOILT_ROW = "a NaN or infinite sample spoils its own row only"
SAME_ROW = "a row does not depend on the others"
UNKNOWN_IDS = "ids that do not exist give NaN"
MEMBERS_DIFFER = "members differ as the reference's do"


def check_spoilt_row(
    runner: Runner, signature: Signature, golden: Golden, tolerance: Tolerance, clean: Outputs | None = None
) -> Check:
    """A NaN sample makes its own row NaN; neither NaN nor infinity touches another row, where a batch has others.

    Args:
        clean: what the first member returns for the first `SPOILT_BATCH` samples, where that is known.
    """
    name = SPOILT_ROW
    if not spoilable(signature):
        return Check(name=name, passed=True, detail="the graph takes integers, which are always finite")
    member = int(golden.members[0])
    given = first_samples(signature, golden, SPOILT_BATCH, runner.limits)
    samples = batch_size(signature, given)
    if clean is None or samples != SPOILT_BATCH:
        clean = run_member("the artifact", runner, member, given)
    lost = next((o.name for o in signature.outputs if o.has_batch and len(clean[o.name]) != samples), None)
    if lost is not None:
        return Check(name=name, passed=False, detail=f"{samples} samples get {len(clean[lost])} rows of {lost}")
    own, passed_over = min(1, samples - 1), set()
    noise = {output.name: _repeated_noise(output, golden, samples) for output in signature.outputs}
    for item in spoilable(signature):
        for spoil in SPOILS:
            found = run_member("the artifact", runner, member, spoilt(given, item.name, own, spoil))
            for output in (output for output in signature.outputs if output.has_batch):
                pair = flat_rows(output, clean[output.name]), flat_rows(output, found[output.name])
                if not _others_stay(*pair, own, noise[output.name], tolerance):
                    detail = f"{spoil.value} in {item.name} of one sample changes the {output.name} of others"
                    return Check(name=name, passed=False, detail=detail)
                must = spoil.is_nan and output.name in spoilt_by(golden, signature, spoil.key(item.name))
                if must and runner.limits.keeps_nan and not np.isnan(pair[1][own].astype(np.float64)).all():
                    if lost_by_maxima(runner, member, spoilt(given, item.name, own, spoil), output, own):
                        passed_over.add(output.name)
                        continue
                    detail = f"a sample whose {item.name} is NaN gets {output.name} that are numbers"
                    return Check(name=name, passed=False, detail=detail)
    known = "" if runner.limits.keeps_nan else "; this runtime gives a NaN sample outputs that are numbers"
    known += f"; its maxima pass over NaN, so that {', '.join(sorted(passed_over))} may be numbers" * bool(passed_over)
    return Check(name=name, passed=True, detail=f"other rows stay as they are{known}")


def lost_by_maxima(
    runner: object, member: int | NDArray[np.int64], inputs: Outputs, output: TensorSpec, row: int, axis: int = 0
) -> bool:
    """Whether it is this runtime's maxima alone that make numbers of a NaN sample's output.

    Args:
        axis: of the samples.
    """
    if not isinstance(runner, Marked):
        return False
    try:
        found = runner.with_marks(member, inputs)  # type: ignore[arg-type]  # some take several members
    except Exception:  # an old file has no such operators: nothing is known, and nothing is accused
        return True
    return found is not None and bool(np.isnan(np.take(found[output.name], row, axis).astype(np.float64)).all())


def spoilt_by(golden: Golden, signature: Signature, key: str) -> tuple[str, ...]:
    """The outputs of a sample that a NaN in an input makes NaN: as the reference says, or all of a single input."""
    if golden.spoils is not None:
        return golden.spoils.get(key, ())
    outputs = tuple(output.name for output in signature.outputs if output.is_floating and output.has_batch)
    return outputs if [item.name for item in signature.inputs] == [key] else ()


def _repeated_noise(output: OutputSpec, golden: Golden, samples: int) -> NDArray[np.float64]:
    noise = golden.noise.get(output.name)
    if noise is None or not output.has_batch:
        return np.zeros(samples)
    kept = noise[0][:SPOILT_BATCH]
    return np.asarray(kept[np.arange(samples) % len(kept)])


def _others_stay(clean: Array, found: Array, own: int, noise: NDArray[np.float64], tolerance: Tolerance) -> bool:
    """Whether all rows but one are as they were, within ten times what a batch of another size may change."""
    others = [row for row in range(len(clean)) if row != own]
    if clean.shape != found.shape:
        return False
    if clean.dtype.kind != "f":
        return bool((clean[others] == found[others]).all()) or bool(noise.any())
    wide = clean.astype(np.float64), found.astype(np.float64)
    difference = np.linalg.norm(wide[0][others] - wide[1][others], axis=-1)
    allowed = np.maximum(10 * tolerance.row_spread, _noise_spread(noise[others], tolerance))
    fine = difference <= allowed * np.linalg.norm(wide[0][others], axis=-1)
    return bool((fine | (noise[others] >= LARGEST_NOISE)).all())


def _noise_spread(noise: NDArray[np.float64], tolerance: Tolerance) -> NDArray[np.float64]:
    """How far two runs of one row may be apart by chance."""
    return 2 * NOISE_MULTIPLE * noise * (tolerance.rounding / EAGER_FLOOR)


def check_strict(worst: float) -> Check:
    """On an accelerator the error itself says whether TF32 was used, whatever the settings say."""
    passed = worst < TF32_SHOWS
    detail = f"the largest error is {worst:.1e}, " + ("as of float32" if passed else "as of TF32: it seems to be on")
    return Check(name="float32 is strict", passed=passed, detail=detail)


def check_unknown_ids(runner: Runner, members: int, signature: Signature, inputs: Outputs) -> Check:
    """Condition ids that do not exist give floating-point outputs that are all NaN.

    Args:
        inputs: samples, of which the first is run.
    """
    name, ids = UNKNOWN_IDS, unknown_ids(members, runner.limits.id_bits)
    given = filled(signature, taken(signature, inputs, slice(0, 1)), runner.limits)
    for cond_id in ids:
        try:
            found = runner.run(cond_id, given)
        except HnexportError:
            raise
        except Exception:  # a runtime's own error; CUDA would have read out of bounds instead
            detail = f"cond_id {cond_id} raises an error here, on an accelerator it would return garbage"
            return Check(name=name, passed=False, detail=detail)
        numbers = [
            output.name
            for output in signature.outputs
            if output.is_floating and output.name not in runner.limits.unguarded
            if not np.isnan(np.asarray(found[output.name], dtype=np.float64)).all()
        ]
        if numbers:
            which = "" if len(signature.outputs) == 1 else f" in {numbers[0]}"
            return Check(name=name, passed=False, detail=f"cond_id {cond_id} returned numbers{which}")
    cut = "" if runner.limits.id_bits == 64 else "; this runtime cuts ids to 32 bits, so its loader must check them"
    return Check(name=name, passed=True, detail=f"checked {', '.join(map(str, ids))}{cut}")


def check_members_differ(
    found: Array, reference: NDArray[np.float64], tolerance: Tolerance, *, lost: float = EAGER_FLOOR
) -> Check:
    """The artifact's members are as far apart as the reference's (a baked-in condition makes them equal).

    Args:
        found: an output of one sample `[member, …]`.
        reference: likewise.
        lost: what the arithmetic may lose of it (relative L2); members that are no further apart are the same.
    """
    expected, actual = spread(reference), spread(found)
    scale = float(np.sqrt((np.asarray(reference, dtype=np.float64) ** 2).mean()))
    allowed = NOISE_MULTIPLE * lost * (tolerance.rounding / EAGER_FLOOR) * scale
    passed = bool(abs(actual - expected) <= tolerance.members * expected + allowed) or lost >= LARGEST_NOISE
    if expected <= allowed:
        detail = f"the reference's members are all the same; these are {actual:.1e} apart"
        return Check(name=MEMBERS_DIFFER, passed=passed, detail=detail)
    ratio = actual / expected
    detail = f"their spread is {ratio:.6f} of the reference's" + (
        "; the condition seems baked in" if ratio < 1e-6 else ""
    )
    return Check(name=MEMBERS_DIFFER, passed=passed, detail=detail)


def check_placement(runner: Placed, inputs: Outputs) -> Check | None:
    """Every layer ran on the provider that was asked for; None where it could not have run elsewhere."""
    found = runner.placement(inputs)
    if found is None:
        return None
    counts = ", ".join(f"{number_of(count, 'node')} on {name}" for name, count in found.nodes.items())
    elsewhere = f"; {', '.join(found.layers_elsewhere)} fell back" if found.layers_elsewhere else ""
    name = "every layer ran on the provider that was asked for"
    return Check(name=name, passed=not found.layers_elsewhere, detail=counts + elsewhere)


Runs = tuple[Reference, Sequence[Sequence[int]], Sequence[Outputs]]


def check_same_rows(runs: Sequence[Runs], tolerance: Tolerance) -> Check:
    """One sample's outputs are the same in every batch, as far as the arithmetic allows.

    Args:
        runs: for each member its reference, the samples of each batch, and the outputs of each.
    """
    worst, passed = 0.0, True
    signature = runs[0][0].signature
    for reference, batches, found in runs:
        for output in (output for output in signature.outputs if output.has_batch):
            values = [flat_rows(output, one[output.name]) for one in found]
            apart, fine = _rows_apart(output, reference, batches, values, tolerance)
            worst, passed = max(worst, apart), passed and fine
    what = signature.outputs[0].name if len(signature.outputs) == 1 else "outputs"
    detail = f"one sample's {what} differ by {worst:.1e} (relative L2) between batches"
    return Check(name=SAME_ROW, passed=bool(passed), detail=detail)


def _rows_apart(
    output: OutputSpec,
    reference: Reference,
    batches: Sequence[Sequence[int]],
    values: Sequence[Array],
    tolerance: Tolerance,
) -> tuple[float, bool]:
    """The largest distance of two rows of one sample, and whether all are within what the arithmetic allows."""
    known = flat_rows(output, reference.outputs[output.name])
    noise = reference.noise.get(output.name, np.zeros(len(known)))
    allowed = np.maximum(tolerance.row_spread, _noise_spread(noise, tolerance))
    worst, passed = 0.0, True
    seen: dict[int, Array] = {}
    for batch, rows in zip(batches, values, strict=True):
        for sample, row in zip(batch, rows, strict=True):
            other = seen.setdefault(sample, row)
            if not output.is_floating:
                passed &= bool((row == other).all()) or bool(noise[sample] > 0)
            elif not np.array_equal(row, other):
                difference = row.astype(np.float64) - other.astype(np.float64)
                apart = float(relative_l2(known[sample] + difference, known[sample]))
                if noise[sample] < LARGEST_NOISE:
                    worst, passed = max(worst, apart), passed and apart <= allowed[sample]
    return worst, bool(passed)
