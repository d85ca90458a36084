"""`verify --bundle`: any model file of the same signature, and `replay`: one failing case again."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.checksums import check_files
from hnexport.bundle.manifest import read_identified
from hnexport.bundle.onnx_data import read_model
from hnexport.confine.trust import bundle_trust
from hnexport.errors import NotRunError, ParityError
from hnexport.names import GOLDEN_FILE, MEMBER_MARK
from hnexport.parity.batches import run_rows
from hnexport.parity.cases import Case, read_case
from hnexport.parity.compare import Reference, checked_outputs, compare_member
from hnexport.parity.ensemble import EnsembleRunner, in_batches
from hnexport.parity.judge import Judge, VerifyOptions
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.precision import computing_in
from hnexport.parity.programs import sharing_programs
from hnexport.parity.results import ArtifactReport, Comparison, ParityReport
from hnexport.parity.runners import RUNNERS, Together, bundle_runner, file_runner, golden_sizes
from hnexport.parity.signature import check_precision
from hnexport.progress import Progress, no_progress
from hnexport.spec import Signature
from hnexport.spelling import spelled

__all__ = ["replay", "verify_file"]

Array = NDArray[np.generic]


@sharing_programs()
def verify_file(
    path: Path, bundle: Path, options: VerifyOptions | None = None, progress: Progress = no_progress
) -> ParityReport:
    """Compare any ONNX, TorchScript or `.pt2` file of the same signature with a bundle's golden samples.

    The file may be a converted, simplified or hand-made one: its weights are not looked at, only what it computes. A
    file that is limited to some batch sizes is tried with those, and one with the signature of `ensemble.onnx` with
    all members at once. An ONNX file without a condition id is one member by itself: the one that it says it is, as
    those of `hnexport.member` do, or the only one in `options.members`.

    Raises:
        BundleError: the bundle's golden samples cannot be read.
        ProviderError: the provider cannot be had.
        ParityError: the file is no such file, or has another signature.
    """
    options = options or VerifyOptions()
    found = read_identified(bundle, options.digest)
    check_files(bundle, found.manifest, [GOLDEN_FILE])
    options = _of_marked(path, found.manifest.members, options)
    judge = Judge.of(bundle, found, options, progress)
    members = judge.golden.members.tolist()
    try:
        with computing_in(options.precision):
            sizes_of = golden_sizes(bundle, found.manifest)
            runner = file_runner(
                path,
                found.manifest,
                options.device(),
                judge.trust,
                sizes_of,
                may_be_one=options.members == (members[0],),
            )
            check_precision(path.name, runner.limits, options.precision)
            if runner.limits.together and isinstance(runner, Together):
                report = _together(path.name, runner, judge)
            elif runner.limits.one_member:
                report = judge.alone(path.name, runner, members[0])
            else:
                report = judge.one(path.name, runner)
    except NotRunError as error:
        return judge.report(refused={path.name: str(error)})
    return judge.report([report])


def replay(path: Path, target: Path, bundle: Path, options: VerifyOptions | None = None) -> Comparison:
    """Run a failing case again.

    Args:
        path: a file that `save_failures` wrote.
        target: the bundle itself, for the artifact of the case, or a model file.

    Raises:
        BundleError: the bundle cannot be read, or has another digest.
        ProviderError: the provider cannot be had.
        ParityError: the case or the model cannot be read.
    """
    options, case = options or VerifyOptions(), read_case(path)
    found = read_identified(bundle, options.digest)
    trust, device = bundle_trust(found.manifest, found.digest, asked=options.trust), options.device()
    if target.is_dir() and case.artifact not in RUNNERS:
        bundle_too = spelled("the bundle as `bundle`", "the bundle with --bundle")
        raise ParityError(f"the case is of the file {case.artifact}: give that file, and {bundle_too}")
    with computing_in(options.precision):
        if target.is_dir():
            runner = bundle_runner(case.artifact, target, found.manifest, device, trust)
        else:
            runner = file_runner(
                target, found.manifest, device, trust, golden_sizes(bundle, found.manifest), may_be_one=True
            )
        check_precision(target.name, runner.limits, options.precision)
        if runner.limits.together:
            raise ParityError(f"{target.name} runs several members at once, the case is of one: verify the file itself")
        signature = found.manifest.signature
        outputs = run_rows(target.name, runner, case.member, signature, case.inputs)
    return _compared(target.name, case, signature, outputs, options)


def _of_marked(path: Path, count: int, options: VerifyOptions) -> VerifyOptions:
    """With the member that an ONNX file says it is, where none was asked for."""
    if options.members is not None or file_kind(path) is not FileKind.ONNX:
        return options
    marks = {item.key: item.value for item in read_model(path).metadata_props}
    marked = marks.get(MEMBER_MARK, "")
    if not marked.isdecimal() or not 0 <= int(marked) < count:
        return options
    return dataclasses.replace(options, members=(int(marked),))


def _compared(
    name: str, case: Case, signature: Signature, outputs: Mapping[str, Array], options: VerifyOptions
) -> Comparison:
    """What was found now, against the reference that the case holds.

    Raises:
        ParityError: the case is of another signature, or the outputs are.
    """
    missing = next((o.name for o in signature.outputs if o.name not in case.reference), None)
    if missing is not None:
        raise ParityError(f"the case has no {missing}: it was saved for another bundle")
    reference = Reference(
        member=case.member, signature=signature, outputs=case.reference, eager=case.eager, noise=case.noise
    )
    rows = list(range(reference.samples))
    checked = checked_outputs(name, signature, outputs, case.reference, rows)
    return compare_member(reference, [rows], [checked], options.tolerance)


def _together(name: str, runner: Together, judge: Judge) -> ArtifactReport:
    """Judge a file that runs all members in one call."""
    if judge.options.batch_sizes is not None:
        option = spelled("batch_sizes", "--batch-sizes")
        raise ParityError(f"{name} is judged with batches of its own choice: leave out {option}")
    if judge.options.save_failures is not None:
        option = spelled("save_failures", "--save-failure")
        raise ParityError(f"{name} runs several members at once, a failing case is of one: leave out {option}")
    run = in_batches(judge.manifest.signature, runner.run_together, runner.limits)
    marked = runner if runner.limits.runs_any_batch else None
    return judge.together(name, EnsembleRunner(runner.runtime, run, runner.limits, marked=marked))
