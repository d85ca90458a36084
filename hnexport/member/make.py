"""From a bundle to members' files: written beside their place, compared with the golden samples, then published."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from hnexport.bundle.checksums import check_files
from hnexport.bundle.manifest import Identified, read_identified
from hnexport.errors import DifferentError, ParityError, RuntimeInputError
from hnexport.member.formats import MemberFormat, file_name, format_of, mark
from hnexport.member.half import HalfCosts
from hnexport.member.int8_file import Int8Members
from hnexport.member.onnx_file import OnnxChoices, OnnxMembers
from hnexport.member.places import rules
from hnexport.member.runners import OnnxMemberRunner, TorchMemberRunner
from hnexport.member.torch_files import TorchMembers
from hnexport.names import GOLDEN_FILE, HYPERNET_FILE, NETWORK_FILE, PT2_FILE, WEIGHTS_FILE
from hnexport.parity.judge import Judge, VerifyOptions
from hnexport.parity.limits import LARGEST_BATCH
from hnexport.parity.members import checked_members
from hnexport.parity.results import ArtifactReport, ParityReport, Verdict
from hnexport.progress import Progress, no_progress
from hnexport.publishing import check_place, staged_file, staged_folder
from hnexport.quantise.cost import Cost
from hnexport.quantise.half import write_half
from hnexport.quantise.options import Int8Options
from hnexport.quantise.plan import Kept
from hnexport.spec.precision import Precision
from hnexport.spelling import spelled

__all__ = ["MemberOptions", "MembersFailedError", "WrittenMembers", "write_members"]

_HALF = (Precision.FLOAT16, Precision.BFLOAT16)
PRECISIONS = {
    MemberFormat.ONNX: (Precision.FLOAT32, Precision.FLOAT16, Precision.INT8),
    MemberFormat.PT2: (Precision.FLOAT32, *_HALF),
    MemberFormat.TORCHSCRIPT: (Precision.FLOAT32, *_HALF),
}
"""What a format is written in."""
_FILES = {
    MemberFormat.ONNX: (HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE),
    MemberFormat.PT2: (PT2_FILE,),
    MemberFormat.TORCHSCRIPT: (PT2_FILE,),
}


@dataclass(frozen=True, kw_only=True)
class MemberOptions:
    """How members are written.

    Attributes:
        format: None takes what the target's suffix says, and ONNX in a folder.
        opset: of an ONNX file, from 17; None is the bundle's.
        batch: the one batch size that the file runs, for runtimes that want every shape as a number; None for any.
        force: replace members' files that are already there.
        trust: load the bundle's `.pt2` in this process, whoever made it; see `hnexport.confine.trust`.
        digest: the bundle must have this one; see `hnexport.bundle.digest`.
        precision: "float32", "float16", "bfloat16" or "int8", see `PRECISIONS`; None is int8 where there are samples to
            calibrate with, else float32. In PyTorch's files half precision is that of convolutions and matrix products.
        calibration: samples that int8 is made with, and that say what half precision changes; without them the golden
            ones say that.
        int8: how members are made in int8, and what members in fewer bits may cost.
    """

    format: MemberFormat | None = None
    opset: int | None = None
    batch: int | None = None
    force: bool = False
    trust: bool = False
    digest: str | None = None
    precision: Precision | None = None
    calibration: Path | None = None
    int8: Int8Options = field(default_factory=Int8Options)

    @property
    def chosen(self) -> Precision:
        """The precision."""
        return self.precision or (Precision.FLOAT32 if self.calibration is None else Precision.INT8)

    def check(self, kind: MemberFormat) -> None:
        """Refuse what does not go together.

        Raises:
            RuntimeInputError: a choice is none of this format, or out of range.
        """
        if kind is not MemberFormat.ONNX and self.opset is not None:
            raise RuntimeInputError(
                f"{spelled('opset', '--opset')} is of ONNX files, the format is {kind}: leave it out"
            )
        precision = self.chosen
        if precision is Precision.INT8 and self.calibration is None:
            raise RuntimeInputError(f"int8 needs {spelled('calibration', '--calibration IMAGES')}")
        if precision is Precision.INT8 and (kind is not MemberFormat.ONNX or self.opset or self.batch):
            raise RuntimeInputError(
                "int8 is for ONNX files in the bundle's opset, for any batch: leave out "
                + spelled("format, opset and batch", "--format, --opset and --batch")
            )
        if precision not in PRECISIONS[kind]:
            raise RuntimeInputError(f"a .{kind} is written in {', '.join(PRECISIONS[kind])}, found {precision}")
        if precision in _HALF and (self.opset or self.batch):
            raise RuntimeInputError(
                f"{precision} is for any batch, in the bundle's opset: leave out "
                + spelled("opset and batch", "--opset and --batch")
            )
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise RuntimeInputError(f"a batch size is 1 to {LARGEST_BATCH}, found {self.batch}")


@dataclass(frozen=True, kw_only=True)
class WrittenMembers:
    """What was published.

    Attributes:
        files: of each member its file.
        beside: those whose weights lie in a file beside them, `NAME.data`, since one file cannot hold them.
        parity: what was found, one artifact for each file.
        costs: of members in fewer bits, what that changes in their answers.
        judged: by which samples, in words.
        kept: their layers that stay in float32.
    """

    files: dict[int, Path]
    beside: tuple[Path, ...]
    parity: ParityReport = field(repr=False)
    costs: Mapping[int, Cost] = field(default_factory=dict)
    judged: str = ""
    kept: tuple[Kept, ...] = ()


class MembersFailedError(ParityError, DifferentError):
    """A member's file does not compute what the golden samples say: carries the report."""

    def __init__(self, report: ParityReport) -> None:
        failures = report.failures
        super().__init__(f"parity failed, nothing was published: {failures[0]} ({len(failures)} failures)")
        self.report = report


def write_members(
    bundle: str | PathLike[str],
    members: Sequence[int] | None,
    target: str | PathLike[str],
    *,
    options: MemberOptions | None = None,
    progress: Progress = no_progress,
) -> WrittenMembers:
    """Write members of a bundle as plain networks `(*inputs) -> outputs`, without a condition id, weights inside.

    Args:
        members: which; None for all.
        target: `NAME.onnx`, `.pt2` or `.pt` for one member, otherwise a folder, which gets `member-3.onnx` and so on.
        progress: called after each member.

    Raises:
        BundleError: the bundle is damaged or lacks the files that the format is made of; the target exists, or cannot
            be written.
        RuntimeInputError: the options contradict each other, several members are to be one file, members have no
            weights without a condition vector, or the calibration samples cannot be read.
        ParityError: a member does not exist, its reference is not known, or it cannot be judged.
        NotRunError: the bundle's `.pt2` is not trusted.
        CaptureError, ExportError: an exporter or converter refused.
        TuneError: it cannot be made in int8.
        TuneFailedError: it costs more than the budget.
        MembersFailedError: a file does not compute what PyTorch computes; nothing was published.
    """
    bundle, target, options = Path(bundle), Path(target), options or MemberOptions()
    kind, is_file = format_of(target, options.format)
    options.check(kind)
    found = read_identified(bundle, options.digest)
    manifest = found.manifest
    _check_conditions(found)
    chosen = checked_members(manifest.members, range(manifest.members) if members is None else members)
    if is_file and len(chosen) != 1:
        raise RuntimeInputError(f"{target} is one file, of {len(chosen)} members: give a folder, without a suffix")
    place = rules(force=options.force, is_file=is_file)
    size = sum(slot.size_bytes for slot in manifest.slots if slot.alias_of is None)
    check_place(target, place, needed_bytes=size * len(chosen))
    check_files(bundle, manifest, [name for name in (GOLDEN_FILE, *_FILES[kind]) if name in manifest.files])
    judged = options.chosen if options.chosen in _HALF else Precision.FLOAT32
    asked = VerifyOptions(members=chosen, trust=options.trust, digest=options.digest, provider="cpu", precision=judged)
    work = _Work(bundle, found, Judge.of(bundle, found, asked, progress), kind, options, alone=is_file)
    if options.chosen is Precision.INT8 and options.calibration is not None:
        work.round(bundle, chosen, options.calibration, progress)
    staged: AbstractContextManager[Path] = staged_file(target, place) if is_file else staged_folder(target, place)
    with staged as new:
        names = {member: target.name if is_file else file_name(member, kind) for member in chosen}
        paths = {member: new if is_file else new / name for member, name in names.items()}
        report = work.judge.report([work.member(member, paths[member], names[member]) for member in chosen])
        _check(report)
        beside = [names[member] for member in work.beside]
    folder = target.parent if is_file else target
    return WrittenMembers(
        files={member: folder / name for member, name in names.items()},
        beside=tuple(folder / name for name in beside),
        parity=report,
        costs=work.costs,
        judged=work.judged,
        kept=() if work.int8 is None else work.int8.kept,
    )


def _check_conditions(found: Identified) -> None:
    """Refuse a hypernetwork of a vector: its members have no weights before they have a vector."""
    manifest = found.manifest
    if manifest.conditions:
        raise RuntimeInputError(
            f"{manifest.name} makes a member's weights of {', '.join(manifest.conditions)}, an input: no member is a "
            "plain network by itself; use model.onnx, or load(…).materialise(…) of hnexport.runtime"
        )


def _check(report: ParityReport) -> None:
    if report.verdict is Verdict.DIFFERENT:
        raise MembersFailedError(report)
    if report.verdict is Verdict.UNANSWERED:
        raise ParityError(
            f"{', '.join(report.unjudged)} cannot be judged, since the bundle says that float32 may lose so much of "
            "it: nothing was published; verify the bundle, or build it again"
        )


class _Work:
    """Writes and compares one member after the other.

    Attributes:
        beside: the members whose weights lie beside their files.
        int8: what writes them in int8 instead.
    """

    def __init__(
        self,
        bundle: Path,
        found: Identified,
        judge: Judge,
        kind: MemberFormat,
        options: MemberOptions,
        *,
        alone: bool,
    ) -> None:
        self.judge, self._found, self._kind, self._options, self._alone = judge, found, kind, options, alone
        self.beside: list[int] = []
        self.int8: Int8Members | None = None
        self._half: HalfCosts | None = None
        if options.chosen in _HALF:
            self._half = HalfCosts(found.manifest, judge.golden.inputs, options.calibration, options.int8)
        self._onnx = OnnxMembers(bundle, found.manifest) if kind is MemberFormat.ONNX else None
        self._torch = None if self._onnx else TorchMembers(bundle, found, judge.trust, judge.golden.inputs)

    def round(self, bundle: Path, members: Sequence[int], samples: Path, progress: Progress) -> None:
        """Let the members be written in int8."""
        self.int8 = Int8Members(bundle, self._found.manifest, members, samples, self._options.int8, progress)

    @property
    def costs(self) -> Mapping[int, Cost]:
        """Of members in fewer bits, what that changes in their answers."""
        return {} if (judge := self.int8 or self._half) is None else judge.costs

    @property
    def judged(self) -> str:
        """The samples of `costs`, in words."""
        return "" if (judge := self.int8 or self._half) is None else judge.told

    def member(self, member: int, path: Path, name: str) -> ArtifactReport:
        """Write a member's file at a path, and compare it.

        Args:
            name: of the file in its place, for the report.
        """
        if self.int8 is not None:
            self.int8.write(member, path, mark(self._found, member))
            return self.int8.judge(member, path, name)
        if self._half is None:
            self._write(member, path, Precision.FLOAT32)
            return self.judge.alone(name, self._opened(path), member)
        with tempfile.TemporaryDirectory(prefix="hnexport-member-", ignore_cleanup_errors=True) as folder:
            exact = Path(folder) / file_name(member, self._kind)
            self._write(member, exact, Precision.FLOAT32)
            if self._onnx is None:
                self._write(member, path, self._options.chosen)
            else:
                write_half(exact, path)
            runner = self._opened(path)
            report = self.judge.alone(name, runner, member)
            if report.passed:
                self._half.compare(member, self._opened(exact), runner, self._options.chosen.value)
        return report

    def _opened(self, path: Path) -> OnnxMemberRunner | TorchMemberRunner:
        open_file = OnnxMemberRunner if self._onnx else TorchMemberRunner
        return open_file(path, self._found.manifest, self._options.batch)

    def _write(self, member: int, path: Path, precision: Precision) -> None:
        options, marks = self._options, mark(self._found, member)
        if self._torch is not None:
            self._torch.write(member, path, self._kind, marks, batch=options.batch, precision=precision)
        elif self._onnx is not None:
            choices = OnnxChoices(opset=options.opset, batch=options.batch, alone=self._alone)
            if self._onnx.write(member, path, choices, marks) and self._half is None:
                self.beside.append(member)
