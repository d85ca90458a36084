"""What every verification shares: the bundle that is meant, its reference, and how an artifact is judged by it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Identified, Manifest
from hnexport.errors import ParityError
from hnexport.parity.artifact import eager_errors, verify_artifact
from hnexport.parity.batches import DEFAULT_BATCH_SIZES, allowed_sizes
from hnexport.parity.cases import Case, write_case
from hnexport.parity.checks import check_strict
from hnexport.parity.chosen import chosen_golden
from hnexport.parity.ensemble import Ensemble, verify_ensemble
from hnexport.parity.environment import environment
from hnexport.parity.reference import sample_members
from hnexport.parity.results import ArtifactReport, ParityReport, Selection
from hnexport.parity.runners import Device, Runner, resolve_provider
from hnexport.parity.tolerances import Precision, Tolerance, tolerance_of
from hnexport.progress import Progress, no_progress
from hnexport.trust import Trust, bundle_trust

__all__ = ["Judge", "VerifyOptions"]


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        members: the members to compare; None takes those of the golden samples (all, or a sample above 32).
        batch_sizes: each member runs once with each; None takes the usual ones, or those that a file is limited to.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        artifacts: which of `RUNNERS` and `ENSEMBLES`, or `all` that are installed; None takes those that a build
            verifies, as far as the bundle's formats allow.
        precision: by which tolerance to judge, and on CUDA whether TF32 is used.
        save_failures: a folder for failing cases, to be run again with `replay`.
        trust: run TorchScript and `.pt2` files in this process, whoever made them; otherwise only those of bundles that
            this user built (see `hnexport.trust`), and all others in a confined process.
        digest: the bundle must have this one; see `hnexport.bundle.digest`.
    """

    members: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] | None = None
    provider: str = "auto"
    artifacts: tuple[str, ...] | None = None
    precision: Precision = Precision.FLOAT32
    save_failures: Path | None = None
    trust: bool = False
    digest: str | None = None

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
    """

    manifest: Manifest
    trust: Trust
    golden: Golden
    options: VerifyOptions
    progress: Progress = no_progress

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
        golden = chosen_golden(bundle, manifest, options.members, trust, progress)
        return cls(manifest=manifest, trust=trust, golden=golden, options=options, progress=progress)

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
        report = verify_artifact(
            name,
            runner,
            self.manifest.spec.members,
            self.golden,
            allowed_sizes(name, runner.limits, options.batch_sizes),
            options.tolerance,
            self.progress,
            self.on_failure,
        )
        if resolve_provider(options.provider) == "cpu" or options.precision is not Precision.FLOAT32:
            return report
        return dataclasses.replace(report, checks=(*report.checks, check_strict(report.worst.relative_l2)))

    def together(self, name: str, ensemble: Ensemble) -> ArtifactReport:
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
        batch_sizes: Sequence[int] | None = None,
    ) -> ParityReport:
        """The report on these artifacts.

        Args:
            batch_sizes: those that were run; None stands for those that were asked for, or the usual ones.
        """
        members = self.golden.members.tolist()
        return ParityReport(
            bundle=self.manifest.name,
            members=self.manifest.spec.members,
            members_checked=tuple(members),
            selection=_selection(self.manifest.spec.members, members),
            batch_sizes=tuple(batch_sizes or self.options.batch_sizes or DEFAULT_BATCH_SIZES),
            image_kinds=self.golden.kinds,
            precision=self.options.precision,
            tolerance=self.options.tolerance,
            eager=tuple(eager_errors(self.golden).values()),
            artifacts=tuple(reports),
            not_run=not_run or {},
            refused=refused or {},
            environment=environment(),
        )


def _selection(members: int, compared: Sequence[int]) -> Selection:
    """How the members came about: a build and the golden samples keep no other trace of it than which they are."""
    if set(compared) == set(range(members)):
        return Selection.ALL
    return Selection.SAMPLED if tuple(compared) == sample_members(members) else Selection.NAMED
