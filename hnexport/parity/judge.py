"""What every verification shares: the bundle that is meant, its reference, and how an artifact is judged by it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hnexport.bundle.golden import Golden, within
from hnexport.bundle.manifest import Identified, Manifest
from hnexport.confine.trust import Trust, bundle_trust, is_remembered
from hnexport.errors import ParityError
from hnexport.machine.environment import environment
from hnexport.parity.artifact import Plan, eager_errors, verify_artifact
from hnexport.parity.batches import DEFAULT_BATCH_SIZES, allowed_sizes, is_large
from hnexport.parity.cases import Case, write_case
from hnexport.parity.checks import check_strict
from hnexport.parity.chosen import chosen_golden, drawn_golden, golden_rows, held_ensemble
from hnexport.parity.ensemble import ENSEMBLES, EnsembleRunner, verify_ensemble
from hnexport.parity.judgeable import judgeable, unjudged
from hnexport.parity.measured_again import without_excess
from hnexport.parity.members import new_seed
from hnexport.parity.open_axes import OPEN_AXES
from hnexport.parity.probed import ill_conditioned, left_out, ranges
from hnexport.parity.results import ArtifactReport, Check, ParityReport, Selection
from hnexport.parity.runners import Device, Runner, resolve_provider
from hnexport.parity.tolerances import Precision, Tolerance, tolerance_of
from hnexport.progress import Progress, no_progress

__all__ = ["Judge", "VerifyOptions"]


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        members: the members to compare; None takes all, above 32 a sample that is drawn anew each time.
        seed: draws the same members as the report that names it; None draws anew.
        fresh: whether members may be drawn that the golden samples do not hold; otherwise theirs are compared.
        batch_sizes: each member runs once with each; None takes the usual ones, or those that a file is limited to.
        sample_seconds: about what one sample costs, see `hnexport.parity.cost`: a build says it, so that what it tries,
            and with it `parity.json`, is the same on a busy machine. None looks at the clock.
        provider: `auto`, `cpu`, `cuda` or another, see `hnexport.runtime.offered`.
        artifacts: which of `RUNNERS` and `ENSEMBLES`, or `all` that are installed; None takes those that a build
            verifies, as far as the bundle's formats allow.
        precision: by which tolerance to judge, and on CUDA whether TF32 is used.
        save_failures: a folder for failing cases, to be run again with `replay`.
        trust: run TorchScript and `.pt2` files in this process, whoever made them; otherwise only those of bundles that
            this user built (see `hnexport.confine.trust`), and all others in a confined process.
        digest: the bundle must have this one; see `hnexport.bundle.digest`.
        own: this process has just computed the golden samples: what they say of float32's noise is believed, as it is
            of bundles that this user built.
    """

    members: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] | None = None
    provider: str = "auto"
    artifacts: tuple[str, ...] | None = None
    precision: Precision = Precision.FLOAT32
    save_failures: Path | None = None
    trust: bool = False
    digest: str | None = None
    seed: int | None = None
    fresh: bool = True
    sample_seconds: float | None = None
    own: bool = False

    @property
    def tolerance(self) -> Tolerance:
        """What belongs to the precision."""
        return tolerance_of(self.precision)

    def device(self) -> Device:
        """Where to run.

        Raises:
            ProviderError: the provider cannot be had.
        """
        return Device(provider=resolve_provider(self.provider), tf32=self.precision is Precision.TF32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A bundle with the golden samples of the members that are asked for.

    Attributes:
        trust: which programs may run in this process.
        progress: called after each member of each artifact.
        seed: with which members were drawn; None where none were.
        believed: whether the noise of the golden samples is known to be what float32 loses.
    """

    manifest: Manifest
    trust: Trust
    golden: Golden
    options: VerifyOptions
    progress: Progress = no_progress
    seed: int | None = None
    believed: bool = True

    @classmethod
    def of(cls, bundle: Path, found: Identified, options: VerifyOptions, progress: Progress = no_progress) -> Self:
        """Read the golden samples, and compute those that the bundle does not hold.

        Raises:
            BundleError: they cannot be read.
            ParityError: a member does not exist, or a batch size is below 1.
        """
        sizes, manifest = options.batch_sizes, found.manifest
        if sizes is not None and (not sizes or min(sizes) < 1):
            raise ParityError(f"batch sizes must be at least 1, found {list(sizes)}")
        trust = bundle_trust(manifest, found.digest, asked=options.trust)
        seed = new_seed() if options.seed is None else options.seed
        if options.members is not None or not options.fresh:
            golden = chosen_golden(bundle, manifest, options.members, trust, progress)
        else:
            golden = drawn_golden(bundle, manifest, seed, trust, progress)
        believed = options.own or is_remembered(found.digest)
        if not believed:
            ensemble = functools.partial(held_ensemble, bundle, manifest, golden, trust)
            golden, believed = without_excess(golden, manifest.signature, ensemble)
        golden = within(golden, manifest.signature, options.precision)
        if options.precision is not Precision.FLOAT32:
            golden = judgeable(golden, manifest.signature, options.tolerance)
        is_drawn = options.members is None and options.fresh and len(golden.members) < manifest.members
        return cls(
            manifest=manifest,
            trust=trust,
            golden=golden,
            options=options,
            progress=progress,
            seed=seed if is_drawn else None,
            believed=believed,
        )

    @property
    def on_failure(self) -> Callable[[Case], object] | None:
        """Keeps a failing case, where that was asked for."""
        folder = self.options.save_failures
        if folder is None:
            return None
        return lambda case: write_case(folder, dataclasses.replace(case, bundle=self.manifest.name))

    def one(self, name: str, runner: Runner) -> ArtifactReport:
        """Judge an artifact that runs one member a call.

        Raises:
            ParityError: it cannot be run, or not with the batch sizes that were asked for.
        """
        options = self.options
        few = options.batch_sizes is None and is_large(self.manifest)
        samples = None if few else self.golden.samples
        plan = Plan(
            members=self.manifest.members,
            batch_sizes=allowed_sizes(name, runner.limits, options.batch_sizes, samples),
            tolerance=options.tolerance,
            every_sample=not few,
            large=options.batch_sizes is None,
            sample_seconds=options.sample_seconds,
            progress=self.progress,
            on_failure=self.on_failure,
        )
        report = verify_artifact(name, runner, self.manifest.signature, self.golden, plan)
        if resolve_provider(options.provider) == "cpu" or options.precision is not Precision.FLOAT32:
            return report
        return dataclasses.replace(report, checks=(*report.checks, check_strict(report.worst.relative_l2)))

    def alone(self, name: str, runner: Runner, member: int) -> ArtifactReport:
        """Judge a file that is one member by itself.

        Raises:
            ParityError: it cannot be run, or not with the batch sizes that were asked for.
        """
        golden = golden_rows(self.golden, [self.golden.members.tolist().index(member)])
        resized = golden.resized
        if resized is None or int(resized.members[0]) == member:
            return dataclasses.replace(self, golden=golden).one(name, runner)
        report = dataclasses.replace(self, golden=dataclasses.replace(golden, resized=None)).one(name, runner)
        reason = f"the golden samples have other sizes of member {resized.members[0]} alone"
        return dataclasses.replace(report, not_checked={**report.not_checked, OPEN_AXES: reason})

    def together(self, name: str, ensemble: EnsembleRunner) -> ArtifactReport:
        """Judge an artifact that runs all members in one call.

        Raises:
            ParityError: it cannot be run.
        """
        return verify_ensemble(name, ensemble, self.manifest, self.golden, self.options.tolerance)

    def report(
        self,
        reports: Sequence[ArtifactReport] = (),
        *,
        not_run: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
        claims: Sequence[Check] = (),
    ) -> ParityReport:
        """The report on these artifacts.

        Args:
            claims: whether what the bundle says of its parity can be confirmed.
        """
        members = self.golden.members.tolist()
        return ParityReport(
            bundle=self.manifest.name,
            members=self.manifest.members,
            members_checked=tuple(members),
            selection=self._selection(members),
            seed=self.seed,
            batch_sizes=_run_by_all(reports) or tuple(self.options.batch_sizes or DEFAULT_BATCH_SIZES),
            image_kinds=self.golden.kinds,
            left_out=left_out(self.golden, self.manifest),
            ranges=ranges(self.golden),
            ill_conditioned=ill_conditioned(self.golden, self.options.tolerance),
            unjudged={} if self.believed else unjudged(self.golden, self.manifest.signature, self.options.tolerance),
            precision=self.options.precision,
            tolerance=self.options.tolerance,
            eager=tuple(eager_errors(self.golden).values()),
            artifacts=tuple(reports),
            not_run=not_run or {},
            refused=refused or {},
            claims=tuple(claims),
            environment=environment(),
        )

    def _selection(self, compared: Sequence[int]) -> Selection:
        """How the members came about."""
        if set(compared) == set(range(self.manifest.members)):
            return Selection.ALL
        return Selection.SAMPLED if self.options.members is None else Selection.NAMED


def _run_by_all(reports: Sequence[ArtifactReport]) -> tuple[int, ...]:
    """The batch sizes that every artifact ran; those that run members together are tried with fewer."""
    single = [report for report in reports if report.artifact not in ENSEMBLES] or reports
    run = [set(report.batch_sizes) for report in single if report.batch_sizes]
    return tuple(sorted(set.intersection(*run) or set.union(*run))) if run else ()
