"""Build: from stored tensors to a verified bundle, or to nothing at all."""

import hnexport.complete  # noqa: F401  # first: it says what is missing

# isort: split
import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from hnexport import __version__
from hnexport.bundle.checksums import WrittenFiles
from hnexport.bundle.described import described
from hnexport.bundle.golden import read_golden, write_golden
from hnexport.bundle.manifest import (
    ArtifactParity,
    Format,
    Manifest,
    OnnxInfo,
    read_identified,
    write_manifest,
)
from hnexport.bundle.writer import bundle_rules, check_target, staged_folder
from hnexport.card import Measured, tell_of_kept, write_card
from hnexport.confine.trust import remember
from hnexport.ensemble import Ensemble
from hnexport.errors import DifferentError, ParityError
from hnexport.export import capture, write_onnx, write_pt2, write_torchscript
from hnexport.names import MODEL_FILE, PARITY_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity import (
    ParityReport,
    VerifyOptions,
    checked_members,
    compute_golden,
    covered_members,
    probe_inputs,
    verify,
)
from hnexport.parity.cost import estimated_seconds
from hnexport.parity.depth import depth_profile
from hnexport.parity.inputs import PROBE_KINDS, Probes, given_inputs
from hnexport.parity.page import write_page
from hnexport.parity.report import report_json
from hnexport.parity.results import Verdict
from hnexport.parity.rounding import Judge, check_measurable, check_rounding, is_rounded, measure_rounding
from hnexport.parity.trained import check_trained
from hnexport.parity.whole_numbers import whole_numbers
from hnexport.programs.tracing import has_torchscript
from hnexport.progress import Progress, no_progress
from hnexport.records import to_json
from hnexport.rows import taken
from hnexport.spec import BasisDtype
from hnexport.spec.bases import without_bases
from hnexport.spec.usage import Usage

__all__ = [
    "ONNX_ALONE_BYTES",
    "PARITY_FILE",
    "BuildOptions",
    "BuildResult",
    "Buildable",
    "ParityFailedError",
    "build",
    "default_formats",
    "seal",
]

logger = logging.getLogger(__name__)

ONNX_ALONE_BYTES = 2**30
"""Of stored tensors: what is larger is written as ONNX alone, unless formats are named.

Every format holds all tensors once more, on the disk and, for TorchScript and `.pt2`, in memory while it is verified.
"""


class Buildable(Protocol):
    """What an ensemble is made from, for instance a checkpoint."""

    def ensemble(self) -> Ensemble:
        """The ensemble; its tensors are taken as they are."""
        ...


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build.

    Attributes:
        formats: None takes all that this PyTorch can write, or ONNX alone above `ONNX_ALONE_BYTES` of stored tensors.
        members: the members to verify; None takes all, or a seeded sample above 32.
        provider: onnxruntime's provider (and torch's device) for the verification.
        force: replace a bundle that is already at the target.
        bases: how the bases are stored, for a source that has any; None leaves them as they are.
        max_logit_change: how much rounding the bases may change an output, relative L2 of a golden row; None: any.
        min_agreement: the share of golden rows whose largest class has to be the same then, 0 to 1.
        judge: says what rounding the bases changes in answers to data, and refuses what it may not; see
            `hnexport.quantise.judged`.
        samples: of every input `[sample, …]` by name, to verify with instead of random ones; see
            `hnexport.parity.inputs.given_inputs`.
        reference: a file of inputs and of what the trained model itself computes of them, which the ensemble has to
            compute too; see `hnexport.parity.trained`.
        usage: what is said beside what the source says of itself, over which it wins.
    """

    formats: tuple[Format, ...] | None = None
    members: tuple[int, ...] | None = None
    provider: str = "auto"
    force: bool = False
    bases: BasisDtype | None = None
    max_logit_change: float | None = None
    min_agreement: float | None = None
    judge: Judge | None = None
    samples: Mapping[str, NDArray[np.generic]] | None = None
    reference: str | PathLike[str] | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A published bundle and what its verification found.

    Attributes:
        path: where the bundle lies.
        manifest: as it was written.
        digest: which bundle it is, see `hnexport.bundle.digest`.
        parity: the report of its verification.
        seconds: the wall time of each stage, by name.
    """

    path: Path
    manifest: Manifest = field(repr=False)
    digest: str
    parity: ParityReport = field(repr=False)
    seconds: Mapping[str, float]


def default_formats(stored_bytes: int) -> tuple[Format, ...]:
    """The formats of an ensemble with so many bytes of stored tensors: all that this PyTorch can write."""
    if stored_bytes > ONNX_ALONE_BYTES:
        return (Format.ONNX,)
    return tuple(item for item in Format if item is not Format.TORCHSCRIPT or has_torchscript())


def build(
    source: Ensemble | Buildable,
    target: str | PathLike[str],
    *,
    options: BuildOptions | None = None,
    progress: Progress = no_progress,
) -> BuildResult:
    """Capture an ensemble, write and verify a bundle, and only then publish it at `target`.

    Args:
        source: an ensemble, or what has one, for instance a checkpoint of a Wide ResNet.
        progress: called as each stage goes on.

    Raises:
        BundleError: the target exists (also where it appeared meanwhile), cannot be written or the disk is full.
        CheckpointError, SpecError: the bases do not fit the form that was asked for, there are none, or `usage` cannot
            be said of it.
        CaptureError, ExportError: an exporter refused.
        ParityError: a member that should be verified does not exist; an artifact cannot be run; or the reference cannot
            be read, or proves nothing.
        ParityFailedError: an artifact does not compute what PyTorch computes; nothing was published.
        RoundedTooMuchError: rounding the bases changed more than the options allow; nothing was published.
        NotAsTrainedError: the ensemble does not compute what the reference says; nothing was published.
    """
    target, options = Path(target), options or BuildOptions()
    exact = _ensemble(source).with_usage(options.usage)
    ensemble = exact
    check_measurable(exact.stored, options.bases, (options.max_logit_change, options.min_agreement, options.judge))
    if options.bases is not None:
        ensemble = _ensemble(_with_bases(source, options.bases)).with_usage(options.usage)
    formats = options.formats or default_formats(_stored_bytes(ensemble))
    probes = _probes(ensemble, options.samples)
    trained = None
    if options.reference is not None:
        trained = check_trained(exact, options.reference)
        ensemble = dataclasses.replace(ensemble, usage=ensemble.usage.confirmed())
    asked = checked_members(ensemble.members, options.members)
    needed = _needed_bytes(ensemble, len(formats), len(asked))
    check_target(target, force=options.force, needed_bytes=needed)
    clock = _Clock(progress)
    rounds, judgement = options.bases is not None and is_rounded(exact, ensemble), None
    if rounds and options.judge is not None:
        with clock.stage("judge"):
            judgement = options.judge(exact, ensemble, progress)
    with staged_folder(target, bundle_rules(force=options.force)) as folder:
        files = WrittenFiles(folder)
        manifest = dataclasses.replace(_write_formats(ensemble, folder, formats, clock), as_trained=trained)
        with clock.stage("reference"):
            members = covered_members(ensemble, probes.inputs, options.members)
            golden = compute_golden(
                ensemble, members, probes.inputs, probes.kinds, progress=progress, conditions=probes.conditions
            )
            write_golden(folder, golden)
        if rounds:
            with clock.stage("rounding"):
                rounding = measure_rounding(exact, ensemble, golden, progress=progress)
            check_rounding(rounding, most_change=options.max_logit_change, least_agreement=options.min_agreement)
            manifest = dataclasses.replace(manifest, basis_rounding=dataclasses.replace(rounding, judged=judgement))
        del exact
        judged = VerifyOptions(
            members=options.members,
            provider=options.provider,
            trust=True,
            fresh=False,
            own=True,
            sample_seconds=estimated_seconds(ensemble, 0, taken(ensemble.signature, golden.inputs, [0])),
        )
        sealed = seal(folder, manifest, files, judged, ensemble, progress)
    remember(sealed.digest)
    tell_of_kept(target)
    return dataclasses.replace(sealed, path=target, seconds={**clock.seconds, **sealed.seconds})


def seal(
    folder: Path,
    manifest: Manifest,
    files: WrittenFiles,
    judged: VerifyOptions,
    ensemble: Ensemble | None,
    progress: Progress,
    measured: Sequence[Measured] = (),
) -> BuildResult:
    """Verify what lies in a folder that is not published yet, and write the report, the manifest and the card.

    Args:
        manifest: without files and parity.
        ensemble: for the report's error by depth; None leaves that out.
        measured: evaluations, for the card.

    Raises:
        ParityFailedError: an artifact does not compute the golden samples.
        ParityError: something could not be judged, though nothing differs.
    """
    clock = _Clock(progress)
    with clock.stage("verify"):
        write_manifest(folder, dataclasses.replace(manifest, files=files.records()))
        report = verify(folder, judged, progress, files.records())
    if report.verdict is Verdict.DIFFERENT:
        raise ParityFailedError(report)
    if report.verdict is Verdict.UNANSWERED:
        raise ParityError(f"{', '.join((*report.unjudged, *report.refused))} cannot be judged: nothing was published")
    text = json.dumps(report_json(report), indent=2, allow_nan=False) + "\n"
    (folder / PARITY_FILE).write_text(text, encoding="utf-8", newline="\n")
    manifest = dataclasses.replace(manifest, files=files.records(), parity=_parity_summary(report))
    with clock.stage("report"):
        golden = read_golden(folder, manifest)
        model = folder / MODEL_FILE if Format.ONNX in manifest.formats else None
        depth = None if ensemble is None else depth_profile(ensemble, golden, model)
        write_page(folder, report, manifest, golden, depth)
    manifest = dataclasses.replace(manifest, files=files.records())
    write_manifest(folder, manifest)
    found = read_identified(folder)
    write_card(folder, found, golden, measured)
    return BuildResult(path=folder, manifest=manifest, digest=found.digest, parity=report, seconds=clock.seconds)


def _probes(ensemble: Ensemble, samples: Mapping[str, NDArray[np.generic]] | None) -> Probes:
    if samples is not None:
        return given_inputs(ensemble.signature, samples)
    examples = {name: one.numpy() for name, one in ensemble.examples.items()}
    return probe_inputs(ensemble.signature, examples, bounds=whole_numbers(ensemble))


def _ensemble(source: Ensemble | Buildable) -> Ensemble:
    return source if isinstance(source, Ensemble) else source.ensemble()


def _with_bases(source: Ensemble | Buildable, dtype: BasisDtype) -> Buildable:
    """The same source with its bases in `dtype`: the one thing that only some sources have."""
    change = getattr(source, "with_bases", None)
    if change is None:
        ensemble = _ensemble(source)
        raise without_bases(ensemble.name, dtype, generates=ensemble.source.family == "hypernetwork")
    return change(dtype)  # type: ignore[no-any-return]


class ParityFailedError(ParityError, DifferentError):
    """Parity was measured and failed: carries the report."""

    def __init__(self, report: ParityReport) -> None:
        failures = report.failures
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


def _write_formats(ensemble: Ensemble, folder: Path, formats: tuple[Format, ...], clock: _Clock) -> Manifest:
    """Every format's files, and the manifest without what is not known yet."""
    with clock.stage("capture"):
        captured = capture(ensemble)
        if set(formats) != {Format.ONNX}:
            _ = captured.joint  # so that its time is this stage's
    onnx_info = None
    if Format.ONNX in formats:
        with clock.stage("onnx"):
            written = write_onnx(captured, folder, _metadata(ensemble))
        onnx_info = OnnxInfo(opset=written.opset, ir_version=written.ir_version, supplied=written.supplied)
    if Format.TORCHSCRIPT in formats:
        with clock.stage("torchscript"):
            write_torchscript(captured, folder / TORCHSCRIPT_FILE)
    if Format.PT2 in formats:
        with clock.stage("pt2"):
            write_pt2(captured, folder / PT2_FILE)
    return described(ensemble, formats=formats, onnx=onnx_info, versions=_versions())


def _metadata(ensemble: Ensemble) -> dict[str, str]:
    """What each ONNX file says of itself."""
    said = {} if ensemble.usage == Usage() else {"hnexport.usage": json.dumps(to_json(ensemble.usage))}
    return {
        "hnexport.name": ensemble.name,
        "hnexport.family": ensemble.source.family,
        "hnexport.spec": json.dumps(to_json(ensemble.source.spec)),
        "hnexport.signature": json.dumps(to_json(ensemble.signature)),
        "hnexport.origin": ensemble.origin,
        **said,
    }


def _versions() -> dict[str, str]:
    import onnxruntime  # only here: `hnexport.parity` has said by now if it cannot be imported

    return {
        "hnexport": __version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }


def _parity_summary(report: ParityReport) -> dict[str, ArtifactParity]:
    return {
        artifact.artifact: ArtifactParity(
            relative_l2=artifact.worst.relative_l2,
            multiple_of_eager=max(comparison.multiple_of_eager for comparison in artifact.comparisons),
            members_checked=len(artifact.comparisons),
        )
        for artifact in report.artifacts
    }


def _stored_bytes(ensemble: Ensemble) -> int:
    return sum(stored.size_bytes for stored in ensemble.stored)


def _needed_bytes(ensemble: Ensemble, formats: int, members: int) -> int:
    """About what the bundle takes on the disk: tensors in each format, golden samples, and the graphs."""
    sizes = {
        name: ensemble.examples[key].shape[axis]
        for key, axes in ensemble.dynamic.items()
        for axis, name in axes.items()
    }
    rows = [
        math.prod(size if isinstance(size, int) else sizes.get(size, 1) for size in tensor.row)
        for tensor in (*ensemble.signature.inputs, *ensemble.signature.outputs)
    ]
    golden = 12 * members * len(PROBE_KINDS) * sum(rows)
    return int(1.02 * _stored_bytes(ensemble) * formats) + golden + 2_000_000
