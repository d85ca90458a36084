"""Results are values: what parity found, for each artifact, member and check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hnexport.parity.tolerances import Precision, Tolerance

__all__ = ["ArtifactReport", "Check", "Comparison", "ParityReport", "Selection", "Verdict"]


class Verdict(StrEnum):
    """What a report comes to; each has an exit code: 0, 1 and 2."""

    SAME = "same"
    DIFFERENT = "different"
    UNANSWERED = "unanswered"


class Selection(StrEnum):
    """Which members of an ensemble were compared."""

    ALL = "all"
    NAMED = "named"
    SAMPLED = "sampled"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One artifact and one member, over all batches and images.

    Attributes:
        worst_absolute: largest absolute difference of a logit.
        relative_l2: largest relative L2 error of a row of logits; infinite where a logit is not finite.
        multiple_of_eager: `relative_l2` over float32 eager's own.
        top1_agreement: share of rows whose largest logit is the reference's.
        margin: smallest margin of a row: how far the reference's two largest logits are apart, over the largest
            absolute difference. Above 2 no rounding can change the answer.
    """

    member: int
    worst_absolute: float
    relative_l2: float
    multiple_of_eager: float
    top1_agreement: float
    margin: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Check:
    """A property that an artifact must have, and what was found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class ArtifactReport:
    """Everything about one artifact.

    Attributes:
        artifact: one of `RUNNERS` or `ENSEMBLES`, for instance `onnx` or `onnx-ensemble`.
        runtime: what ran it, with version and provider.
        ensemble_error: relative L2 error of the logits' mean over the members.
        repeat_spread: largest relative L2 difference of a row between two equal runs: 0 where the runtime is
            deterministic, NaN where it was not run twice.
        not_checked: what could not be checked, which is neither passed nor failed, by name, with the reason.
    """

    artifact: str
    runtime: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    ensemble_error: float
    repeat_spread: float
    not_checked: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every member and every check passed."""
        return all(item.passed for item in self.comparisons) and all(check.passed for check in self.checks)

    @property
    def worst(self) -> Comparison:
        """The member with the largest relative error."""
        return max(self.comparisons, key=lambda comparison: comparison.relative_l2)

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, one line each."""
        members = tuple(
            f"member {item.member}: relative L2 error {item.relative_l2:.2e}, {item.multiple_of_eager:.1f} x eager's"
            for item in self.comparisons
            if not item.passed
        )
        return members + tuple(f"{check.name}: {check.detail}" for check in self.checks if not check.passed)


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """What `verify` found in a bundle.

    Attributes:
        members_checked: the members that were compared.
        selection: whether they are all of them, those that someone named, or a seeded sample.
        image_kinds: what the images were.
        eager: float32 eager PyTorch's own relative L2 error on each of them: the yardstick.
        not_run: why other artifacts were not run, though nothing was wrong with that, by name.
        refused: why artifacts that were to be run were not, so that the question stays open, by name.
        environment: versions, processor, threads.
    """

    bundle: str
    members: int
    members_checked: tuple[int, ...]
    selection: Selection
    batch_sizes: tuple[int, ...]
    image_kinds: tuple[str, ...]
    precision: Precision
    tolerance: Tolerance
    eager: tuple[float, ...]
    artifacts: tuple[ArtifactReport, ...]
    not_run: Mapping[str, str]
    environment: Mapping[str, str]
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def sampled(self) -> bool:
        """Whether the members are a sample that was drawn."""
        return self.selection is Selection.SAMPLED

    @property
    def passed(self) -> bool:
        """Whether at least one artifact was compared, and all that should be compared were, and passed."""
        return self.verdict is Verdict.SAME

    @property
    def verdict(self) -> Verdict:
        """Different where anything differs; unanswered where nothing does, but not everything could be compared."""
        if any(not artifact.passed for artifact in self.artifacts):
            return Verdict.DIFFERENT
        return Verdict.SAME if self.artifacts and not self.refused else Verdict.UNANSWERED
