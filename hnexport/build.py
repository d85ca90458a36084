"""Build: from stored tensors to a verified bundle, or to nothing at all."""

import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from hnexport import __version__
from hnexport.bundle.checksums import record_file
from hnexport.bundle.golden import read_golden, write_golden
from hnexport.bundle.manifest import (
    MANIFEST_FILE,
    ArtifactParity,
    Format,
    Manifest,
    OnnxInfo,
    read_identified,
    write_manifest,
)
from hnexport.bundle.writer import bundle_rules, check_target, staged_folder
from hnexport.errors import ParityError
from hnexport.export import Capture, capture, write_onnx, write_pt2, write_torchscript
from hnexport.names import COND_ID
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.family import describe, source
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.networks.wide_resnet.limits import stored_bytes
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity import (
    ParityReport,
    VerifyOptions,
    checked_members,
    compute_golden,
    covered_members,
    probe_inputs,
    verify,
)
from hnexport.parity.depth import depth_profile
from hnexport.parity.page import write_page
from hnexport.parity.report import report_json
from hnexport.parity.rounding import measure_rounding
from hnexport.progress import Progress, no_progress
from hnexport.records import to_json
from hnexport.spec import BasisDtype, TensorSpec
from hnexport.trust import Trust, remember

__all__ = ["PARITY_FILE", "BuildOptions", "BuildResult", "ParityFailedError", "build"]

logger = logging.getLogger(__name__)

PARITY_FILE = "parity.json"


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build.

    Attributes:
        members: the members to verify; None takes all, or a seeded sample above 32.
        provider: onnxruntime's provider (and torch's device) for the verification.
        force: replace a bundle that is already at the target.
        bases: the dtype in which the bases are stored; None leaves them as the checkpoint has them.
    """

    formats: tuple[Format, ...] = (Format.ONNX, Format.TORCHSCRIPT, Format.PT2)
    members: tuple[int, ...] | None = None
    provider: str = "auto"
    force: bool = False
    bases: BasisDtype | None = None


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A published bundle and what its verification found.

    Attributes:
        digest: which bundle it is, see `hnexport.bundle.digest`.
    """

    path: Path
    manifest: Manifest
    digest: str
    parity: ParityReport
    seconds: Mapping[str, float]


def build(
    checkpoint: Checkpoint,
    target: Path,
    *,
    options: BuildOptions | None = None,
    progress: Progress = no_progress,
) -> BuildResult:
    """Capture a pipeline, write and verify a bundle, and only then publish it at `target`.

    Args:
        checkpoint: what to build, from `hnexport.networks.wide_resnet.checkpoints` or `random_checkpoint`.
        progress: called as each stage goes on.

    Raises:
        BundleError: the target exists (also where it appeared meanwhile), cannot be written or the disk is full.
        CheckpointError, SpecError: the bases do not fit float16, or there are none.
        CaptureError, ExportError: an exporter refused.
        ParityError: a member that should be verified does not exist.
        ParityFailedError: an artifact does not compute what PyTorch computes; nothing was published.
    """
    options, exact = options or BuildOptions(), checkpoint
    if options.bases is not None:
        checkpoint = exact.with_bases(options.bases)
    spec = checkpoint.spec
    checked_members(spec.members, options.members)
    check_target(target, force=options.force, needed_bytes=_needed_bytes(spec, options))
    clock = _Clock(progress)
    with staged_folder(target, bundle_rules(force=options.force)) as folder:
        with clock.stage("capture"):
            captured = capture(Pipeline(spec, checkpoint.tensors))
        manifest = _write_formats(captured, folder, checkpoint.origin, options, clock)
        with clock.stage("reference"):
            ensemble = wide_resnet_ensemble(spec, captured.tensors, checkpoint.origin)
            probes = probe_inputs(ensemble.signature, {name: one.numpy() for name, one in ensemble.examples.items()})
            members = covered_members(ensemble, probes.inputs, options.members)
            golden = compute_golden(ensemble, members, probes.inputs, probes.kinds, progress=progress)
            write_golden(folder, golden)
        if _rounds(exact.spec, spec):
            with clock.stage("rounding"):
                rounding = measure_rounding(spec, exact.tensors, golden, checkpoint.tensors, progress=progress)
            manifest = dataclasses.replace(manifest, basis_rounding=rounding)
        with clock.stage("verify"):
            write_manifest(folder, _with_files(manifest, folder, parity={}))
            judged = VerifyOptions(members=options.members, provider=options.provider, trust=True, fresh=False)
            report = verify(folder, judged, progress)
        if not report.passed:
            raise ParityFailedError(report)
        text = json.dumps(report_json(report), indent=2, allow_nan=False) + "\n"
        (folder / PARITY_FILE).write_text(text, encoding="utf-8")
        manifest = _with_files(manifest, folder, _parity_summary(report))
        with clock.stage("report"):
            golden = read_golden(folder, manifest)
            depth = depth_profile(folder, manifest, golden, Trust(everything=True))
            write_page(folder, report, manifest, golden, depth)
        manifest = _with_files(manifest, folder, _parity_summary(report))
        write_manifest(folder, manifest)
        digest = read_identified(folder).digest
    remember(digest)
    return BuildResult(path=target, manifest=manifest, digest=digest, parity=report, seconds=clock.seconds)


class ParityFailedError(ParityError):
    """Parity was measured and failed: carries the report."""

    def __init__(self, report: ParityReport) -> None:
        failures = [f"{artifact.artifact}: {line}" for artifact in report.artifacts for line in artifact.failures]
        super().__init__(f"parity failed, nothing was published: {failures[0]} ({len(failures)} failures)")
        self.report = report


class _Clock:
    """Wall time of each stage, in seconds."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        self._progress(name, 0, 1)
        yield
        self.seconds[name] = time.perf_counter() - start
        self._progress(name, 1, 1)
        logger.info("%s took %.1f s", name, self.seconds[name])


def _write_formats(captured: Capture, folder: Path, origin: str, options: BuildOptions, clock: _Clock) -> Manifest:
    spec = captured.spec
    metadata = {"hnexport.name": spec.name, "hnexport.spec": json.dumps(to_json(spec)), "hnexport.origin": origin}
    onnx_info = None
    if Format.ONNX in options.formats:
        with clock.stage("onnx"):
            written = write_onnx(captured, folder, metadata)
        onnx_info = OnnxInfo(opset=written.opset, ir_version=written.ir_version, supplied=written.supplied)
    if Format.TORCHSCRIPT in options.formats:
        with clock.stage("torchscript"):
            write_torchscript(captured, folder / "model.pt")
    if Format.PT2 in options.formats:
        with clock.stage("pt2"):
            write_pt2(captured, folder / "model.pt2")
    found = describe(spec)
    import onnxruntime  # only here: `hnexport.parity` has said by now if it cannot be imported

    return Manifest(
        name=spec.name,
        origin=origin,
        members=found.members,
        source=source(spec),
        inputs=(TensorSpec(name=COND_ID, dtype="int64", shape=()), *found.signature.inputs),
        outputs=found.signature.outputs,
        slots=found.slots,
        stored=found.stored,
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
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST_FILE)
    return dataclasses.replace(manifest, files={name: record_file(folder / name) for name in names}, parity=parity)


def _parity_summary(report: ParityReport) -> dict[str, ArtifactParity]:
    return {
        artifact.artifact: ArtifactParity(
            relative_l2=artifact.worst.relative_l2,
            multiple_of_eager=max(comparison.multiple_of_eager for comparison in artifact.comparisons),
            members_checked=len(artifact.comparisons),
        )
        for artifact in report.artifacts
    }


def _rounds(before: PipelineSpec, after: PipelineSpec) -> bool:
    """Whether bases that were float32 are float16 now."""
    dtypes = [spec.hypernet.basis_dtype for spec in (before, after) if spec.hypernet is not None]
    return dtypes == [BasisDtype.FLOAT32, BasisDtype.FLOAT16]


def _needed_bytes(spec: PipelineSpec, options: BuildOptions) -> int:
    golden = 12 * len(checked_members(spec.members, options.members)) * 6 * spec.network.classes
    return int(1.02 * stored_bytes(spec) * len(options.formats)) + golden + 2_000_000
