"""Results are values: what parity found, for each artifact, member and check."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hnexport.parity.tolerances import Precision, Tolerance

__all__ = ["ArtifactReport", "Check", "Comparison", "OutputComparison", "ParityReport", "Selection", "Verdict"]


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
class OutputComparison:
    """One output of one artifact and one member, over all batches and samples.

    Attributes:
        output: its name.
        worst_absolute: largest absolute difference of an element.
        relative_l2: largest relative L2 error of a row; infinite where a number is not finite. Rows that are
            ill-conditioned and within their own limit do not count, unless all are.
        multiple_of_eager: largest multiple of the yardstick: what float32 eager loses on that member, or may lose by
            chance on that row where that is more.
        ill_conditioned: how many rows float32 itself cannot compute well; they are judged by their own noise alone.
        worst_ill: largest relative L2 error of one of them; 0 where there is none.
        top1_agreement: of logits the share of rows whose largest is the reference's, else None.
        margin: of logits the smallest margin of a row: how far the reference's two largest are apart, over the largest
            absolute difference. Above 2 no rounding can change the answer. Else None.
        passed: whether it is within the tolerance.
    """

    output: str
    worst_absolute: float
    relative_l2: float
    multiple_of_eager: float
    ill_conditioned: int = 0
    worst_ill: float = 0.0
    top1_agreement: float | None = None
    margin: float | None = None
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One artifact and one member, over all outputs, batches and samples; see `OutputComparison`.

    Attributes:
        member: which one.
        worst_absolute: the largest of its outputs.
        relative_l2: the largest of its outputs.
        multiple_of_eager: the largest of its outputs.
        top1_agreement: the least of its logits; 1 where it has none.
        margin: the least of its logits; infinite where it has none.
        passed: whether every output is within the tolerance.
        outputs: each output by itself; empty where nothing could be compared.
        reason: why nothing could be compared, with the runtime's own error where it raised one; empty otherwise.
    """

    member: int
    worst_absolute: float
    relative_l2: float
    multiple_of_eager: float
    top1_agreement: float
    margin: float
    passed: bool
    outputs: tuple[OutputComparison, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A property that an artifact must have, and what was found.

    Attributes:
        name: what must hold, in words.
        passed: whether it holds.
        detail: what was found.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class ArtifactReport:
    """Everything about one artifact.

    Attributes:
        artifact: one of `RUNNERS` or `ENSEMBLES`, for instance `onnx` or `onnx-ensemble`.
        runtime: what ran it, with version and provider.
        comparisons: one for each member.
        checks: properties that it must have.
        ensemble_error: relative L2 error of the mean over the members of the first sample's outputs.
        repeat_spread: largest relative L2 difference of a row between two equal runs: 0 where the runtime is
            deterministic, NaN where it was not run twice.
        not_checked: what could not be checked, which is neither passed nor failed, by name, with the reason.
        batch_sizes: those that it ran.
    """

    artifact: str
    runtime: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    ensemble_error: float
    repeat_spread: float
    not_checked: Mapping[str, str] = field(default_factory=dict)
    batch_sizes: tuple[int, ...] = ()

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
        members = tuple(f"member {item.member}: {_told(item)}" for item in self.comparisons if not item.passed)
        return members + tuple(f"{check.name}: {check.detail}" for check in self.checks if not check.passed)


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """What `verify` found in a bundle.

    Attributes:
        bundle: its name.
        members: how many it has.
        members_checked: the members that were compared.
        selection: whether they are all of them, those that someone named, or a seeded sample.
        precision: the arithmetic that was judged.
        tolerance: what an artifact may lose.
        artifacts: what was compared.
        seed: with which members were drawn; None where none were.
        batch_sizes: those that every artifact ran.
        image_kinds: what the samples were.
        left_out: kinds of sample that the reference or the precision cannot compute.
        ranges: by input, the least and the largest number that it was probed with.
        ill_conditioned: by output and kind of sample, what float32 itself may lose there (relative L2).
        unjudged: by output and kind of sample, how much of itself a row may be off by, where that is so much that
            nothing can be said, and nobody but the bundle says so.
        eager: float32 eager PyTorch's own relative L2 error on each member: the yardstick.
        claims: whether what the bundle says of its own parity can be confirmed.
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
    seed: int | None = None
    left_out: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ill_conditioned: Mapping[str, float] = field(default_factory=dict)
    unjudged: Mapping[str, float] = field(default_factory=dict)
    claims: tuple[Check, ...] = ()

    @property
    def sampled(self) -> bool:
        """Whether the members are a sample that was drawn."""
        return self.selection is Selection.SAMPLED

    @property
    def passed(self) -> bool:
        """Whether at least one artifact was compared, and all that should be compared were, and passed."""
        return self.verdict is Verdict.SAME

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, of artifacts and of the bundle's claims, one line each."""
        found = tuple(f"{artifact.artifact}: {line}" for artifact in self.artifacts for line in artifact.failures)
        return found + tuple(f"{claim.name}: {claim.detail}" for claim in self.claims if not claim.passed)

    @property
    def verdict(self) -> Verdict:
        """Different where anything differs; unanswered where nothing does, but not everything could be compared."""
        if any(not artifact.passed for artifact in self.artifacts) or any(not claim.passed for claim in self.claims):
            return Verdict.DIFFERENT
        return Verdict.SAME if self.artifacts and not self.refused and not self.unjudged else Verdict.UNANSWERED


def _told(item: Comparison) -> str:
    """What is wrong with a member."""
    if item.reason:
        return item.reason
    if not math.isfinite(item.relative_l2):
        finite = math.isfinite(item.worst_absolute)
        what = f"off by {item.worst_absolute:.2e}" if finite else "numbers are not finite, or rows are missing"
        return f"{what}{_where(item)}"
    return f"relative L2 error {item.relative_l2:.2e}, {item.multiple_of_eager:.3g} x eager's{_where(item)}"


def _where(item: Comparison) -> str:
    """The output that is meant, where there are several."""
    wrong = [output.output for output in item.outputs if not output.passed]
    return f" ({', '.join(wrong)})" if len(item.outputs) > 1 and wrong else ""
