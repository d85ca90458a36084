"""`locate`: the first place where an artifact departs from the reference.

It walks the way of the data: embedding, chunk, assembled weight (faults of weight generation), then every layer and
block up to the logits (faults of inference). Weights are found through the layers that take them. Activations are found
by their values: a point of the reference is matched if anything in the artifact equals it, and a point that is matched
by nothing is forgiven if something that depends on it is matched, since then an optimiser fused it away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Manifest, read_identified
from hnexport.errors import ParityError
from hnexport.parity.batches import filled, run_member, run_rows
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.layers import match_layers, network_layers
from hnexport.parity.onnx_trace import OnnxTracer
from hnexport.parity.points import Point, reference_points
from hnexport.parity.programs import Program, sharing_programs
from hnexport.parity.reference import double_pipeline
from hnexport.parity.rows_of import taken
from hnexport.parity.runners import Device, Runner, file_runner
from hnexport.parity.signature import check_precision
from hnexport.parity.tolerances import TOLERANCES, Precision, Tolerance
from hnexport.parity.trace import Trace
from hnexport.parity.trusted import trusted_tensors
from hnexport.parity.weight_faults import Kind, Step, generation_fault, weight_steps
from hnexport.rows import relative_l2
from hnexport.spec import Signature
from hnexport.trust import Trust, bundle_trust

__all__ = ["ARTIFACT_FILES", "LocateReport", "Stage", "locate"]

Array = NDArray[np.generic]
Stage = str

ARTIFACT_FILES = {"onnx": "model.onnx", "torchscript": "model.pt", "pt2": "model.pt2"}
_IMAGES = 3


@dataclass(frozen=True, kw_only=True)
class LocateReport:
    """What `locate` found.

    Attributes:
        member: the member that was followed: where none was asked for, the one with the largest error.
        steps: every comparison, in the order of the data flow.
        first: the first step that departs; None where the artifact agrees.
    """

    bundle: str
    against: str
    runtime: str
    member: int
    tolerance: Tolerance
    steps: tuple[Step, ...]
    first: Step | None

    @property
    def stage(self) -> Stage | None:
        """`weight generation` or `inference`."""
        if self.first is None:
            return None
        return "inference" if self.first.kind in (Kind.LAYER, Kind.LOGITS) else "weight generation"


@sharing_programs()
def locate(
    bundle: Path,
    against: str,
    *,
    member: int | None = None,
    precision: Precision = Precision.FLOAT32,
    trust: bool = False,
) -> LocateReport:
    """Find the first place where an artifact departs from PyTorch in float64.

    Args:
        against: `onnx`, `torchscript`, `pt2`, or a model file with the same signature that someone changed.
        precision: the tolerance to judge by.
        trust: run TorchScript and `.pt2` files in this process, whoever made them; otherwise only those of bundles that
            this user built, and all others in a confined process.

    Raises:
        BundleError: the bundle cannot be read.
        ParityError: the file or the member does not exist, or the file has another signature.
    """
    identified = read_identified(bundle)
    manifest = identified.manifest
    check_files(bundle, manifest, manifest.files)
    golden = read_golden(bundle, manifest)
    trusted = bundle_trust(manifest, identified.digest, asked=trust)
    path = bundle / ARTIFACT_FILES[against] if against in ARTIFACT_FILES else Path(against)
    runner = _followed(path, manifest, trusted, precision)
    tolerance = TOLERANCES[precision]
    chosen = _worst_member(runner, golden, manifest.signature) if member is None else member
    if not 0 <= chosen < manifest.spec.members:
        raise ParityError(f"member {chosen} does not exist: this ensemble has members 0 to {manifest.spec.members - 1}")
    (images,) = filled(
        manifest.signature, taken(manifest.signature, golden.inputs, slice(0, _IMAGES)), runner.limits
    ).values()
    if isinstance(runner, Program):
        trace = runner.trace(chosen, images)
    else:
        trace = OnnxTracer(path, logits=manifest.outputs[0].name).run(chosen, images)
    tensors = trusted_tensors(bundle, manifest, golden.fingerprints, trusted)
    steps = _walk(manifest, tensors, golden, trace, chosen, images, tolerance)
    steps = (*steps, _as_shipped(runner, trace, chosen, images, tolerance))
    return LocateReport(
        bundle=manifest.name,
        against=against,
        runtime=runner.runtime,
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
        raise ParityError(f"{path} runs several members at once: locate follows one, in the file (cond_id, image)")
    check_precision(path, runner.limits, precision)
    return runner


def _walk(
    manifest: Manifest,
    tensors: dict[str, Tensor],
    golden: Golden,
    trace: Trace,
    member: int,
    images: Array,
    tolerance: Tolerance,
) -> tuple[Step, ...]:
    pipeline = double_pipeline(manifest.spec, tensors)
    with torch.no_grad():
        weights = pipeline.weights(member)
    layers = network_layers(manifest.spec.network)
    matched = match_layers(layers, trace.calls)
    values = [value for value in trace.values.values() if value.size]
    steps = weight_steps(layers, matched, weights, tolerance.weights)
    wrong = next((step for step in steps if not step.passed), None)
    if wrong is not None:
        others = [member, *(number for number in range(manifest.spec.members) if number != member)]
        embeddings = {
            name.split(".", 1)[1].removesuffix(".embedding"): tensor[others].double()
            for name, tensor in tensors.items()
            if name.endswith(".embedding")
        }
        cause = generation_fault(
            manifest.spec,
            wrong.place,
            weights[wrong.place],
            embeddings,
            values,
            tolerance.weights,
        )
        steps = (*((cause,) if cause else ()), *steps)
    points = reference_points(pipeline, weights, images)
    return (*steps, *_layer_steps(points, values, tolerance), _logits_step(points, trace, tolerance))


def _layer_steps(points: Sequence[Point], values: Sequence[Array], tolerance: Tolerance) -> tuple[Step, ...]:
    """One step for each point of the reference that is no mere change of shape."""
    errors = [_closest(point.value, values) for point in points]
    forgiven = [error <= tolerance.relative_l2 for error in errors]
    for number in reversed(range(len(points))):  # what a matched point depends on is right
        if forgiven[number]:
            for source in points[number].inputs:
                forgiven[source] = True
    return tuple(
        Step(
            kind=Kind.LAYER,
            place=point.place,
            error=error,
            passed=passed,
            detail=point.operation if error <= tolerance.relative_l2 or not passed else "fused with what follows",
        )
        for point, error, passed in zip(points, errors, forgiven, strict=True)
    )


def _closest(reference: Array, values: Sequence[Array]) -> float:
    """Smallest error among the artifact's values; infinite where none has the shape."""
    return min((_error(value, reference) for value in values), default=float("inf"))


def _error(value: Array, reference: Array) -> float:
    """Largest relative L2 error of an image's share of the value; infinite where the shapes differ."""
    if value.shape != reference.shape:
        return float("inf")
    rows = len(reference)
    flat = [array.reshape(rows, -1).astype(np.float64) for array in (value, reference)]
    return float(relative_l2(flat[0], flat[1]).max())


def _logits_step(points: Sequence[Point], trace: Trace, tolerance: Tolerance) -> Step:
    error = _error(trace.logits, points[-1].value)
    return Step(kind=Kind.LOGITS, place="logits", error=error, passed=error <= tolerance.relative_l2)


def _as_shipped(runner: Runner, trace: Trace, member: int, images: Array, tolerance: Tolerance) -> Step:
    """The artifact as a user runs it, against the artifact as it was walked: node by node, without optimisation."""
    error = _error(run_member("the file", runner, member, {"image": images})["logits"], trace.logits.astype(np.float64))
    detail = "the runtime's own optimisation changes the result" if error > tolerance.relative_l2 else ""
    passed = error <= tolerance.relative_l2
    return Step(
        kind=Kind.LOGITS, place="logits as the runtime optimises them", error=error, passed=passed, detail=detail
    )


def _worst_member(runner: Runner, golden: Golden, signature: Signature) -> int:
    inputs = taken(signature, golden.inputs, slice(0, _IMAGES))
    errors = [
        _error(run_rows("the file", runner, member, signature, inputs)["logits"], logits[:_IMAGES])
        for member, logits in zip(golden.members.tolist(), golden.logits, strict=True)
    ]
    return int(golden.members[int(np.argmax(errors))])
