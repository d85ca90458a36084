"""`verify`: every artifact of a bundle, every member, several batch sizes and kinds of sample."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.checksums import check_files, check_sizes
from hnexport.bundle.manifest import FileRecord, read_identified
from hnexport.errors import NotRunError, ParityError
from hnexport.parity.batches import first_samples
from hnexport.parity.claims import check_claims
from hnexport.parity.ensemble import ENSEMBLES
from hnexport.parity.expected import Weights, expected_weights
from hnexport.parity.judge import Judge, VerifyOptions
from hnexport.parity.not_run import NOT_ASKED
from hnexport.parity.precision import computing_in
from hnexport.parity.programs import PROGRAM_FILES, sharing_programs
from hnexport.parity.providers import obstacle
from hnexport.parity.random_operators import check_nothing_random
from hnexport.parity.results import ArtifactReport, ParityReport
from hnexport.parity.runners import RUNNERS, Inspectable, Readable, Runner, Signed, bundle_runner, choose_runners
from hnexport.parity.signature_report import signature_report
from hnexport.parity.trusted import trusted_tensors
from hnexport.parity.weight_checks import check_generated, check_stored
from hnexport.progress import Progress, no_progress
from hnexport.runtime.obstacles import NVIDIA, quick_obstacle
from hnexport.runtime.offered import offered
from hnexport.spelling import spelled

__all__ = ["VerifyOptions", "verify"]

Array = NDArray[np.generic]


@sharing_programs()
def verify(
    bundle: Path,
    options: VerifyOptions | None = None,
    progress: Progress = no_progress,
    recorded: Mapping[str, FileRecord] | None = None,
) -> ParityReport:
    """Compare every artifact of a bundle with the reference in its golden samples.

    Args:
        progress: called after each member of each artifact.
        recorded: of files that this process has just written and hashed itself: they are not hashed once more.

    Raises:
        BundleError: a file is missing or damaged.
        ProviderError: the provider cannot be had.
        ParityError: a member does not exist, a batch size is below 1, or an artifact cannot be run.
    """
    options = options or VerifyOptions()
    found = read_identified(bundle, options.digest)
    manifest = found.manifest
    known = recorded or {}
    check_sizes(bundle, manifest, manifest.files)
    check_files(bundle, manifest, [name for name, record in manifest.files.items() if known.get(name) != record])
    judge = Judge.of(bundle, found, options, progress)
    formats = {name: file_format for name, (file_format, _) in (*RUNNERS.items(), *ENSEMBLES.items())}
    names, not_run = choose_runners(formats, manifest, options.artifacts)
    device = options.device()
    tensors = trusted_tensors(bundle, manifest, judge.golden.fingerprints, judge.trust)
    weights = expected_weights(manifest, tensors)
    inputs = first_samples(manifest.signature, judge.golden, 1)

    def one(name: str) -> ArtifactReport:
        return _verify_one(name, bundle_runner(name, bundle, manifest, device, judge.trust), weights, inputs, judge)

    def several(name: str) -> ArtifactReport:
        progress(f"verify {name}", 0, 1)
        ensemble = ENSEMBLES[name][1](bundle, manifest, device, judge.trust)
        if ensemble.signature_faults:
            report = signature_report(name, ensemble.runtime, ensemble.signature_faults, judge.golden)
        else:
            report = judge.together(name, ensemble)
        progress(f"verify {name}", 1, 1)
        return report

    with computing_in(options.precision):
        reports, refused = _verify_each(
            {
                **{name: functools.partial(one, name) for name in names if name in RUNNERS},
                **{name: functools.partial(several, name) for name in names if name in ENSEMBLES},
            }
        )
    not_run.update(_other_providers(device.provider, options))
    claims = check_claims(bundle, manifest, reports, judge.golden, options)
    return judge.report(reports, not_run=not_run, refused=refused, claims=claims)


def _other_providers(used: str, options: VerifyOptions) -> dict[str, str]:
    """Why ONNX was not run on each of NVIDIA's providers, and of those that are there, but the one that was used."""
    found = {}
    for provider in dict.fromkeys((*NVIDIA, *offered())):
        if provider not in (used, "cpu"):
            tried = options.provider == "auto" and provider == "cuda"
            why = obstacle(provider) if tried else quick_obstacle(provider)  # a trial takes seconds
            found[f"onnx on {provider}"] = str(
                why or NOT_ASKED + spelled(f"provider={provider!r}", f"--provider {provider}")
            )
    return found


def _verify_each(
    artifacts: Mapping[str, Callable[[], ArtifactReport]],
) -> tuple[tuple[ArtifactReport, ...], dict[str, str]]:
    """The report of each artifact, one in memory at a time, and why those that cannot be run were not.

    Raises:
        ParityError: one cannot be run, and none of the others differs: the question stays open.
    """
    reports: list[ArtifactReport] = []
    refused: dict[str, str] = {}
    broken: dict[str, ParityError] = {}
    for name, run in artifacts.items():
        same = next((known for known in refused if PROGRAM_FILES.get(known) == PROGRAM_FILES.get(name, "")), None)
        if same is not None:  # it is the same file
            refused[name] = refused[same]
            continue
        try:
            reports.append(run())
        except NotRunError as error:
            refused[name] = str(error)
        except ParityError as error:
            broken[name] = error
    if broken and all(report.passed for report in reports):
        raise next(iter(broken.values()))
    return tuple(reports), {**refused, **{name: str(error) for name, error in broken.items()}}


def _verify_one(
    name: str, runner: Runner, weights: Weights, inputs: Mapping[str, Array], judge: Judge
) -> ArtifactReport:
    """Judge what an artifact computes and, where they can be looked at, its weights."""
    golden, checks = judge.golden, []
    if isinstance(runner, Signed) and runner.signature_faults:
        return signature_report(name, runner.runtime, runner.signature_faults, golden)
    if isinstance(runner, Inspectable):
        members = golden.members.tolist()
        checks.append(check_stored(runner, golden.fingerprints))
        step = functools.partial(_count, judge.progress, f"weights of {name}", len(members))
        checks.append(check_generated(runner, weights, members, inputs, judge.options.tolerance, step))
        for part in golden.conditions[:1]:
            given, some = first_samples(judge.manifest.signature, part, 1), part.members.tolist()
            found = check_generated(runner, weights, some, given, judge.options.tolerance, lambda _: None)
            checks.append(dataclasses.replace(found, name=f"{found.name}, with another condition"))
    if isinstance(runner, Readable):
        checks.append(check_nothing_random(runner.random))
    report = judge.one(name, runner)
    return dataclasses.replace(report, checks=(*checks, *report.checks))


def _count(progress: Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)
