"""Parity of the artifacts that run several members in one call: their outputs, and what is said of them together."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Format, Manifest
from hnexport.confine.trust import NOBODY, Trust
from hnexport.errors import HnexportError, ParityError
from hnexport.names import TORCHSCRIPT_FILE
from hnexport.parity.batches import DEFAULT_BATCH_SIZES, LARGE_BATCHES, in_parts, is_large, large_batch, said
from hnexport.parity.checks import lost_by_maxima, spoilt_by
from hnexport.parity.compare import Reference, checked_outputs, compare_member
from hnexport.parity.conditions import check_conditions
from hnexport.parity.first_sample import ensemble_error, first_rows
from hnexport.parity.limits import FULL, Limits
from hnexport.parity.members import unknown_ids
from hnexport.parity.onnx_runners import own_model
from hnexport.parity.open_axes import check_open_axes
from hnexport.parity.programs import open_program
from hnexport.parity.providers import Device
from hnexport.parity.random_operators import check_nothing_random
from hnexport.parity.results import ArtifactReport, Check, Comparison
from hnexport.parity.spoiling import SPOILS, spoilable, spoilt
from hnexport.parity.summary_checks import check_summary, member_axis
from hnexport.parity.tolerances import Tolerance
from hnexport.rows import flat_rows, relative_l2, taken
from hnexport.spec import Signature
from hnexport.spec.summaries import SummaryKind, summaries

__all__ = ["ENSEMBLES", "EnsembleRunner", "in_batches", "verify_ensemble"]

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]
Outputs = Mapping[str, Array]
Run = Callable[[NDArray[np.int64], Inputs], Outputs]

UNKNOWN_MEMBERS = "an id that does not exist makes the means NaN"
SPOILT_SAMPLE = "a NaN sample makes its own means NaN"
_IDS_AT_ONCE = 32  # a call holds the outputs of all its members


class EnsembleRunner:
    """A loaded artifact: `run(cond_ids, inputs)` gives what `hnexport.spec.summaries` names."""

    def __init__(
        self,
        runtime: str,
        run: Run,
        limits: Limits = FULL,
        signature_faults: tuple[str, ...] = (),
        random: tuple[str, ...] | None = None,
        marked: object = None,
    ) -> None:
        """`random`: of a bundle's own graph, see `random_operators`; `marked`: what can be asked as `Marked`."""
        self.runtime, self.run, self.limits, self.marked = runtime, run, limits, marked
        self.signature_faults, self.random = signature_faults, random


def onnx_ensemble(bundle: Path, manifest: Manifest, device: Device, trust: Trust = NOBODY) -> EnsembleRunner:
    """`ensemble.onnx` under onnxruntime."""
    runner = own_model(bundle, manifest, device, together=True)
    runtime = f"onnxruntime {onnxruntime.__version__} {device.provider}"
    return EnsembleRunner(runtime, runner.run_together, runner.limits, runner.signature_faults, runner.random, runner)


def torchscript_ensemble(bundle: Path, manifest: Manifest, device: Device, trust: Trust = NOBODY) -> EnsembleRunner:
    """The method `ensemble` of `model.pt` under `torch.jit`; confined, unless it is trusted."""
    program = open_program(bundle / TORCHSCRIPT_FILE, manifest, device, trust, own=True)
    return EnsembleRunner(program.runtime, program.ensemble, signature_faults=program.signature_faults)


# The artifact's name, the format it belongs to, how to load it.
ENSEMBLES: Mapping[str, tuple[Format, Callable[..., EnsembleRunner]]] = MappingProxyType(
    {
        "onnx-ensemble": (Format.ONNX, onnx_ensemble),
        "torchscript-ensemble": (Format.TORCHSCRIPT, torchscript_ensemble),
    }
)


class _Tried:
    """One artifact with the reference, and every call that was made."""

    def __init__(self, name: str, ensemble: EnsembleRunner, signature: Signature, golden: Golden) -> None:
        self.name, self.ensemble, self.signature, self.golden = name, ensemble, signature, golden
        self.calls: list[tuple[list[int], list[int], Outputs]] = []
        """Positions of members, samples, outputs."""

    def run(self, cond_ids: Sequence[int] | NDArray[np.int64], inputs: Inputs) -> Outputs:
        """The outputs of these ids, of the shapes that the summaries have.

        Raises:
            ParityError: it cannot be run, or an output is missing.
        """
        try:
            found = self.ensemble.run(np.array(cond_ids, dtype=np.int64), inputs)
        except HnexportError:
            raise
        except Exception as error:  # each runtime has its own
            raise ParityError(
                f"{self.name} on {self.ensemble.runtime} cannot run the members {list(cond_ids)} at once: {said(error)}"
            ) from error
        names = [item.name for item in summaries(self.signature)]
        if not isinstance(found, Mapping) or not set(names) <= set(found):
            raise ParityError(f"{self.name}: expected {', '.join(names)}, found {', '.join(found) or 'nothing'}")
        return {name: np.asarray(found[name]) for name in names}

    def alone(self, member: int, inputs: Inputs) -> Outputs:
        """The outputs of one member by name."""
        found = self.run([member], inputs)
        return {output.name: found[f"member_{output.name}"][0] for output in self.signature.outputs}

    def members(self, positions: Sequence[int], samples: Sequence[int]) -> None:
        """Run some members on some samples, and keep what comes out."""
        ids = [int(self.golden.members[position]) for position in positions]
        found = self.run(ids, taken(self.signature, self.golden.inputs, samples))
        self.calls.append((list(positions), list(samples), found))

    def of_member(self, found: Outputs, row: int, samples: Sequence[int], reference: Reference) -> Outputs:
        """One member's own outputs of a call.

        Raises:
            ParityError: they have another shape.
        """
        own = {}
        for output in self.signature.outputs:
            array = found[f"member_{output.name}"]
            if array.ndim == 0 or row >= len(array):
                raise ParityError(f"{self.name}: expected {output.name} of each member, found {list(array.shape)}")
            own[output.name] = array[row]
        return checked_outputs(self.name, self.signature, own, reference.outputs, samples)


@np.errstate(invalid="ignore", over="ignore")  # outputs that are not finite are an answer
def verify_ensemble(
    name: str, ensemble: EnsembleRunner, manifest: Manifest, golden: Golden, tolerance: Tolerance
) -> ArtifactReport:
    """Run members together: all in reverse, one, some in another order and repeated, with batches of several sizes; and
    compare their outputs with the reference, and what is said of them together with what follows from them.

    Raises:
        ParityError: the artifact cannot be run, or returns outputs of another shape.
    """
    signature = manifest.signature
    tried = _Tried(name, ensemble, signature, golden)
    for positions, samples in _calls(golden, signature, large=is_large(manifest)):
        tried.members(positions, samples)
    comparisons = _comparisons(tried, tolerance)
    again = tried.run([int(golden.members[tried.calls[0][0][0]])], taken(signature, golden.inputs, tried.calls[0][1]))
    whole = _first_of_all(tried)
    return ArtifactReport(
        artifact=name,
        runtime=ensemble.runtime,
        comparisons=comparisons,
        ensemble_error=ensemble_error(signature, golden, whole),
        repeat_spread=_repeat_spread(tried, again),
        checks=(
            *([] if ensemble.random is None else [check_nothing_random(ensemble.random)]),
            *check_summary(signature, [found for _, _, found in tried.calls]),
            _check_unknown_members(tried, manifest.members),
            *_check_spoilt_sample(tried),
            *check_open_axes(name, tried.alone, signature, golden, tolerance),
            *check_conditions(name, tried.alone, signature, golden, tolerance),
        ),
        batch_sizes=tuple(sorted({len(samples) for _, samples, _ in tried.calls})),
    )


def _calls(golden: Golden, signature: Signature, *, large: bool) -> list[tuple[list[int], list[int]]]:
    """Positions of members and samples of each call: every member at least once, with all samples.

    Args:
        large: see `is_large`: with the first samples, and one member alone with all of them.
    """
    members, whole = list(range(len(golden.members)))[::-1], list(range(golden.samples))
    some = whole[: max(DEFAULT_BATCH_SIZES)] if large else whole
    calls = [(members[start : start + _IDS_AT_ONCE], some) for start in range(0, len(members), _IDS_AT_ONCE)]
    first, last = members[-1], members[0]
    if not any(item.has_batch for item in signature.inputs):
        return [*calls, ([first], whole), ([last, first], whole), ([first, first, last], whole)]
    if large:
        return [*calls, ([first, first, last], whole[-1:]), ([first], whole)]
    calls += [([first], [0]), ([last, first], whole[:3]), ([first, first, last], whole[-1:])]
    return [*calls, (members[-2:], large_batch(golden.samples, LARGE_BATCHES[0]))]


def _comparisons(tried: _Tried, tolerance: Tolerance) -> tuple[Comparison, ...]:
    found = []
    for position in range(len(tried.golden.members)):
        reference = Reference.of(tried.golden, position, tried.signature)
        used = [
            (samples, tried.of_member(outputs, row, samples, reference))
            for positions, samples, outputs in tried.calls
            for row, at in enumerate(positions)
            if at == position
        ]
        found.append(compare_member(reference, [one for one, _ in used], [own for _, own in used], tolerance))
    return tuple(found)


def _first_of_all(tried: _Tried) -> dict[str, Array]:
    """By output `[member, element]`: the first sample of every member, from the calls with all samples."""
    rows: dict[int, dict[str, Array]] = {}
    for positions, samples, outputs in tried.calls:
        if samples[0] == 0:
            for row, position in enumerate(positions):
                reference = Reference.of(tried.golden, position, tried.signature)
                own = tried.of_member(outputs, row, samples, reference)
                rows.setdefault(position, first_rows(tried.signature, own))
    ordered = [rows[position] for position in sorted(rows)]
    return {output.name: np.stack([row[output.name] for row in ordered]) for output in tried.signature.outputs}


def _repeat_spread(tried: _Tried, again: Outputs) -> float:
    """Largest relative L2 difference of a row between a member together with others and alone."""
    first, worst = tried.calls[0][2], 0.0
    for output in (output for output in tried.signature.outputs if output.is_floating):
        one, two = (flat_rows(output, found[f"member_{output.name}"][0]) for found in (again, first))
        if not np.array_equal(one, two, equal_nan=True):
            worst = max(worst, float(relative_l2(one, two.astype(np.float64)).max()))
    return worst


def _check_unknown_members(tried: _Tried, members: int) -> Check:
    """Members that do not exist spoil their own outputs and every mean, and no other member's outputs."""
    signature, known = tried.signature, int(tried.golden.members[0])
    inputs = taken(signature, tried.golden.inputs, slice(0, 1))
    limits, lost = tried.ensemble.limits, ""
    ids = unknown_ids(members, limits.id_bits)
    try:
        found = tried.run([known, *ids], inputs)
    except ParityError as error:
        return Check(name=UNKNOWN_MEMBERS, passed=False, detail=str(error))
    for item in (item for item in summaries(signature) if item.is_floating):
        value = found[item.name]
        if item.kind is not SummaryKind.MEMBERS:
            if not np.isnan(value).all():
                detail = f"ids that do not exist leave {item.name} a number"
                if limits.keeps_nan:
                    return Check(name=UNKNOWN_MEMBERS, passed=False, detail=detail)
                lost = f"; {detail}, since this runtime loses NaN: its loader must check ids"
            continue
        if not np.isfinite(value[0]).all() and np.isfinite(tried.run([known], inputs)[item.name]).all():
            detail = f"ids that do not exist change the {item.of} of another member"
            return Check(name=UNKNOWN_MEMBERS, passed=False, detail=detail)
        numbers = [cond_id for cond_id, own in zip(ids, value[1:], strict=True) if not np.isnan(own).all()]
        if numbers:
            detail = f"cond_id {numbers[0]} gives {item.of} that are numbers"
            return Check(name=UNKNOWN_MEMBERS, passed=False, detail=detail)
    return Check(name=UNKNOWN_MEMBERS, passed=True, detail=f"checked {', '.join(map(str, ids))}{lost}")


def _check_spoilt_sample(tried: _Tried) -> list[Check]:
    """A NaN sample makes its own rows NaN, of members and of means, and no other sample's."""
    signature, golden = tried.signature, tried.golden
    samples = min(3, golden.samples)
    own, inputs = min(1, samples - 1), taken(signature, golden.inputs, slice(0, samples))
    ids = np.array([int(golden.members[0])], dtype=np.int64)
    for given in spoilable(signature):
        for spoil in (spoil for spoil in SPOILS if spoil.is_nan):
            must = spoilt_by(golden, signature, spoil.key(given.name)) if tried.ensemble.limits.keeps_nan else ()
            with_nan = spoilt(inputs, given.name, own, spoil)
            found = tried.run(ids, with_nan)
            for item in (item for item in summaries(signature) if item.of in must):
                rows = np.moveaxis(found[item.name], member_axis(item), 0)
                others = [row for row in range(len(rows)) if row != own]
                lost = len(rows) != samples or not np.isnan(rows[own]).all()
                if lost and not lost_by_maxima(tried.ensemble.marked, ids, with_nan, item, own, member_axis(item)):
                    detail = f"a sample whose {given.name} is NaN gets {item.name} that are numbers"
                    return [Check(name=SPOILT_SAMPLE, passed=False, detail=detail)]
                if np.isnan(rows[others]).any():
                    detail = f"a NaN in {given.name} of one sample changes the {item.name} of others"
                    return [Check(name=SPOILT_SAMPLE, passed=False, detail=detail)]
    return [Check(name=SPOILT_SAMPLE, passed=True, detail="and no other's")] if spoilable(signature) else []


def in_batches(signature: Signature, run: Run, limits: Limits) -> Run:
    """The same for any number of samples, where the artifact runs batches of some sizes only."""
    if limits.runs_any_batch:
        return run
    items = summaries(signature)

    def run_parts(cond_ids: NDArray[np.int64], inputs: Inputs) -> Outputs:
        parts = [(run(cond_ids, batch), count) for batch, count in in_parts(signature, inputs, limits)]
        whole = {}
        for item in items:
            if not signature.output(item.of).has_batch:
                whole[item.name] = parts[0][0][item.name]
                continue
            axis = member_axis(item)
            arrays = [np.take(found[item.name], range(count), axis=axis) for found, count in parts]
            whole[item.name] = np.concatenate(arrays, axis=axis)
        return whole

    return run_parts
