"""Build: from stored tensors to a verified bundle, or to nothing at all."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from hnexport import __version__
from hnexport.bundle.checksums import record_file
from hnexport.bundle.golden import write_golden
from hnexport.bundle.manifest import (
    ArtifactParity,
    Format,
    Manifest,
    OnnxInfo,
    TensorSignature,
    write_manifest,
)
from hnexport.bundle.writer import check_target, staged_folder
from hnexport.errors import ParityError
from hnexport.export import Capture, capture, write_onnx, write_pt2, write_torchscript
from hnexport.hypernet.storage import stored_tensors
from hnexport.parity import ParityReport, VerifyOptions, compute_golden, probe_images, sample_members, verify
from hnexport.pipeline import Pipeline
from hnexport.records import to_json
from hnexport.spec import PipelineSpec

__all__ = ["PARITY_FILE", "BuildOptions", "BuildResult", "build"]

logger = logging.getLogger(__name__)

PARITY_FILE = "parity.json"

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build.

    Attributes:
        members: the members to verify; None takes all, or a seeded sample above 32.
        provider: onnxruntime's provider (and torch's device) for the verification.
        force: replace a bundle that is already at the target.
    """

    formats: tuple[Format, ...] = (Format.ONNX, Format.TORCHSCRIPT, Format.PT2)
    members: tuple[int, ...] | None = None
    provider: str = "cpu"
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A published bundle and what its verification found."""

    path: Path
    manifest: Manifest
    parity: ParityReport
    seconds: Mapping[str, float]


def build(
    spec: PipelineSpec,
    tensors: Mapping[str, Tensor],
    target: Path,
    *,
    origin: str,
    options: BuildOptions | None = None,
    progress: Progress = lambda step: None,
) -> BuildResult:
    """Capture a pipeline, write and verify a bundle, and only then publish it at `target`.

    Args:
        tensors: the stored tensors, float32; see `hnexport.hypernet.storage.stored_tensors`.
        origin: where the weights come from, in words.
        progress: called with a line after each step.

    Raises:
        BundleError: the target exists, cannot be written or the disk is full.
        CheckpointError: the tensors are not those of the specification.
        CaptureError, ExportError: an exporter refused.
        ParityFailedError: an artifact does not compute what PyTorch computes; nothing was published.
    """
    options = options or BuildOptions()
    check_target(target, force=options.force, needed_bytes=_needed_bytes(spec, options))
    clock = _Clock(progress)
    with staged_folder(target) as folder:
        captured = capture(Pipeline(spec, tensors))
        clock.done("captured the pipeline")
        manifest = _write_formats(captured, folder, origin, options, clock)
        members = options.members or sample_members(spec.members)
        golden = compute_golden(
            spec,
            captured.tensors,
            members,
            probe_images(spec),
            on_member=lambda member: progress(f"reference: member {member}"),
        )
        write_golden(folder, golden)
        clock.done("computed the float64 reference")
        write_manifest(folder, _with_files(manifest, folder, parity={}))
        report = verify(folder, VerifyOptions(provider=options.provider), progress)
        clock.done("verified every artifact")
        if not report.passed:
            raise ParityFailedError(report)
        text = json.dumps(_finite(to_json(report)), indent=2, allow_nan=False) + "\n"
        (folder / PARITY_FILE).write_text(text, encoding="utf-8")
        manifest = _with_files(manifest, folder, _parity_summary(report))
        write_manifest(folder, manifest)
    return BuildResult(path=target, manifest=manifest, parity=report, seconds=clock.seconds)


class ParityFailedError(ParityError):
    """Parity was measured and failed: carries the report."""

    def __init__(self, report: ParityReport) -> None:
        failures = [f"{artifact.artifact}: {line}" for artifact in report.artifacts for line in artifact.failures]
        super().__init__(f"parity failed, nothing was published: {failures[0]} ({len(failures)} failures)")
        self.report = report


class _Clock:
    """Wall time of each step, in seconds."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress, self._last = progress, time.perf_counter()

    def done(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = now - self._last
        self._last = now
        self._progress(f"{step} ({self.seconds[step]:.1f} s)")


def _write_formats(captured: Capture, folder: Path, origin: str, options: BuildOptions, clock: _Clock) -> Manifest:
    spec = captured.spec
    metadata = {"hnexport.name": spec.name, "hnexport.spec": json.dumps(to_json(spec)), "hnexport.origin": origin}
    onnx_info = None
    if Format.ONNX in options.formats:
        written = write_onnx(captured, folder, metadata)
        onnx_info = OnnxInfo(opset=written.opset, ir_version=written.ir_version, supplied=written.supplied)
        clock.done("wrote model.onnx, hypernet.onnx, network.onnx")
    if Format.TORCHSCRIPT in options.formats:
        write_torchscript(captured, folder / "model.pt")
        clock.done("wrote model.pt")
    if Format.PT2 in options.formats:
        write_pt2(captured, folder / "model.pt2")
        clock.done("wrote model.pt2")
    dtype, shape = spec.image_input
    return Manifest(
        name=spec.name,
        origin=origin,
        spec=spec,
        inputs=(
            TensorSignature(name="cond_id", dtype="int64", shape=()),
            TensorSignature(name="image", dtype=dtype, shape=("batch", *shape)),
        ),
        outputs=(TensorSignature(name="logits", dtype="float32", shape=("batch", spec.network.classes)),),
        formats=options.formats,
        onnx=onnx_info,
        files={},
        versions={
            "hnexport": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    )


def _with_files(manifest: Manifest, folder: Path, parity: Mapping[str, ArtifactParity]) -> Manifest:
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    fields = {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}
    fields.update(files={name: record_file(folder / name) for name in names}, parity=parity)
    return Manifest(**fields)


def _parity_summary(report: ParityReport) -> dict[str, ArtifactParity]:
    return {
        artifact.artifact: ArtifactParity(
            relative_l2=artifact.worst.relative_l2,
            multiple_of_eager=max(comparison.multiple_of_eager for comparison in artifact.comparisons),
            members_checked=len(artifact.comparisons),
        )
        for artifact in report.artifacts
    }


def _needed_bytes(spec: PipelineSpec, options: BuildOptions) -> int:
    stored = 4 * sum(tensor.size for tensor in stored_tensors(spec))
    golden = 12 * len(sample_members(spec.members)) * 6 * spec.network.classes
    return int(1.02 * stored * len(options.formats)) + golden + 2_000_000


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
