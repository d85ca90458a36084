"""`locate` walks the way of the data to the first place where an artifact departs from the reference.

Embedding, chunk, the tensor of each slot (faults of weight generation), then every module up to the outputs (faults of
inference). Slots are told by name or number, see `hnexport.parity.trace.slots`; the values on the way are found by
number alone, see `hnexport.parity.locate.activations`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Manifest, read_identified
from hnexport.confine.trust import Trust, bundle_trust
from hnexport.errors import ParityError
from hnexport.names import MODEL_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity.batches import first_samples, run_member
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.locate.activations import layer_steps, output_error, output_steps
from hnexport.parity.locate.chunks import chunk_fault, of_all_members
from hnexport.parity.locate.reference import Source, reference_source
from hnexport.parity.locate.steps import Step
from hnexport.parity.locate.weights import named_member, weight_steps
from hnexport.parity.members import checked_members
from hnexport.parity.programs import sharing_programs
from hnexport.parity.runners import Device, Runner, Traceable, file_runner
from hnexport.parity.signature import check_precision
from hnexport.parity.tolerances import TOLERANCES, Precision, Tolerance
from hnexport.parity.trace import Trace
from hnexport.parity.trace.slots import find_slots
from hnexport.parity.trusted import trusted_tensors

__all__ = ["ARTIFACT_FILES", "LocateReport", "Stage", "locate"]

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]
Stage = str

ARTIFACT_FILES = {"onnx": MODEL_FILE, "torchscript": TORCHSCRIPT_FILE, "pt2": PT2_FILE}
"""The file of a bundle that each kind of artifact lies in."""
_SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class LocateReport:
    """What `locate` found.

    Attributes:
        bundle: its name.
        against: the artifact, or the file.
        runtime: what ran it, with version and provider.
        reference: what the artifact was compared with, in words.
        member: the member that was followed: where none was asked for, the one with the largest error.
        tolerance: by which steps are judged.
        steps: every comparison, in the order of the data flow.
        first: the first step that departs; None where the artifact agrees.
    """

    bundle: str
    against: str
    runtime: str
    reference: str
    member: int
    tolerance: Tolerance
    steps: tuple[Step, ...]
    first: Step | None

    @property
    def stage(self) -> Stage | None:
        """`weight generation` or `inference`."""
        if self.first is None:
            return None
        return "inference" if self.first.kind.is_inference else "weight generation"


@sharing_programs()
def locate(
    bundle: Path,
    against: str,
    *,
    member: int | None = None,
    precision: Precision = Precision.FLOAT32,
    trust: bool = False,
) -> LocateReport:
    """Find the first place where an artifact departs from the reference.

    That is PyTorch in float64 where the network is known from data, otherwise the bundle's `network.onnx`.

    Args:
        against: `onnx`, `torchscript`, `pt2`, or a model file with the same signature that someone changed.
        precision: the tolerance to judge by.
        trust: run TorchScript and `.pt2` files in this process, whoever made them; otherwise only those of bundles that
            this user built, and all others in a confined process.

    Raises:
        BundleError: the bundle cannot be read.
        ParityError: the file or the member does not exist, the file has another signature, or there is no reference.
    """
    identified = read_identified(bundle)
    manifest = identified.manifest
    check_files(bundle, manifest, manifest.files)
    golden = read_golden(bundle, manifest)
    trusted = bundle_trust(manifest, identified.digest, asked=trust)
    path = bundle / ARTIFACT_FILES[against] if against in ARTIFACT_FILES else Path(against)
    runner = _followed(path, manifest, trusted, precision)
    tolerance = TOLERANCES[precision]
    inputs = first_samples(manifest.signature, golden, _SAMPLES, runner.limits)
    chosen = _worst_member(runner, manifest, golden, inputs) if member is None else member
    checked_members(manifest.members, (chosen,))
    tensors = trusted_tensors(bundle, manifest, golden.fingerprints, trusted)
    source = reference_source(bundle, manifest, golden, tensors)
    trace = _traced(path, runner, chosen, inputs)
    steps = _walk(manifest, tensors, source, trace, chosen, inputs, tolerance)
    steps = (*steps, *_as_shipped(manifest, run_member("the file", runner, chosen, inputs), trace, tolerance))
    return LocateReport(
        bundle=manifest.name,
        against=against,
        runtime=runner.runtime,
        reference=source.words,
        member=chosen,
        tolerance=tolerance,
        steps=steps,
        first=next((step for step in steps if not step.passed), None),
    )


def _followed(path: Path, manifest: Manifest, trust: Trust, precision: Precision) -> Runner:
    """The artifact, loaded.

    Raises:
        ParityError: it is of a kind whose inside cannot be looked at, or runs several members at once.
    """
    if file_kind(path) is FileKind.ORT:
        raise ParityError(
            f"{path} is {FileKind.ORT.value}, which shows no values inside: locate in the .onnx it came from"
        )
    runner = file_runner(path, manifest, Device(), trust)
    if runner.limits.together:
        raise ParityError(f"{path} runs several members at once: locate follows one, in the file that takes one id")
    check_precision(path, runner.limits, precision)
    return runner


def _traced(path: Path, runner: Runner, member: int, inputs: Inputs) -> Trace:
    if not isinstance(runner, Traceable):
        raise ParityError(f"{path} shows no values inside: locate in the file that it came from")
    return runner.trace(member, inputs)


def _walk(
    manifest: Manifest,
    tensors: Mapping[str, Tensor],
    source: Source,
    trace: Trace,
    member: int,
    inputs: Inputs,
    tolerance: Tolerance,
) -> tuple[Step, ...]:
    limit = source.share * tolerance.relative_l2
    reference = source.run(member, inputs)
    outputs = output_steps(manifest.outputs, trace.outputs, reference.outputs, limit)
    values = [value for value in trace.values.values() if value.size]
    expected = source.weights(member, inputs)
    seen = find_slots(expected, trace.given, tolerance.weights, values)
    right = all(step.passed for step in outputs)
    steps = weight_steps(expected, seen, tolerance.weights, right=right)
    wrong = next((step for step in steps if not step.passed), None)
    if wrong is not None:
        embeddings = of_all_members(manifest.stored, tensors, member)
        slot = expected[wrong.place]
        cause = chunk_fault(manifest.source, wrong.place, slot, embeddings, values, tolerance.weights)
        if cause is None:
            others = [number for number in range(manifest.members) if number != member]
            detail = named_member(wrong, seen[wrong.place].value, lambda one: source.weights(one, inputs), others)
            told = dataclasses.replace(wrong, detail=detail)
            steps = tuple(told if step is wrong else step for step in steps)
        else:
            steps = (cause, *steps)
    return (*steps, *layer_steps(reference.points, values, limit), *outputs)


def _as_shipped(manifest: Manifest, found: Mapping[str, Array], trace: Trace, tolerance: Tolerance) -> tuple[Step, ...]:
    """The artifact as a user runs it, against the artifact as it was walked: node by node, without optimisation."""
    steps = output_steps(manifest.outputs, found, trace.outputs, tolerance.relative_l2)
    detail = "the runtime's own optimisation changes the result"
    return tuple(
        dataclasses.replace(
            step, place=f"{step.place} as the runtime optimises them", detail="" if step.passed else detail
        )
        for step in steps
    )


def _worst_member(runner: Runner, manifest: Manifest, golden: Golden, inputs: Inputs) -> int:
    """The member whose outputs are furthest from the golden samples, as far as rows can be compared."""
    outputs = [output for output in manifest.outputs if output.has_batch]
    errors = []
    for number, member in enumerate(golden.members.tolist()):
        found = run_member("the file", runner, member, inputs)
        worst = 0.0
        for output in outputs:
            rows = np.arange(len(found[output.name])) % min(_SAMPLES, golden.samples)
            known = golden.outputs[output.name][number][rows]
            worst = max(worst, output_error(output, found[output.name], known))
        errors.append(worst)
    return int(golden.members[int(np.argmax(errors))])
