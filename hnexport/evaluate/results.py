"""What an evaluation found, as records: `hnexport.records.to_json` makes JSON of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hnexport.evaluate.measures import (
    Bin,
    Coverage,
    Difference,
    Diversity,
    Histogram,
    Interval,
    Loss,
    Scores,
    Separation,
)
from hnexport.images import AppliedNormalisation

__all__ = [
    "ChosenUntil",
    "Classification",
    "Evaluation",
    "FittedTemperature",
    "Regression",
    "SourceEvaluation",
    "Stopped",
]


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The ensemble where a row takes no more members than a rule says, asked in the order of `Evaluation.order`.

    Attributes:
        until: the rule, as `predict_mean` and `hnexport predict --until` take it, or "all".
        members: that a row takes, mean.
        scores: of the mean probabilities over the members that a row takes.
        changed: how many answers are others than those of all members of the first of `Evaluation.sources`.
        ood: by uncertainty, the AUROC of other data, both stopped by the rule and of the members that each row takes;
            empty without such data.
        ood_members: that a row of the other data takes, mean; None without.
    """

    until: str
    members: float
    scores: Scores
    changed: int
    ood: Mapping[str, float] = field(default_factory=dict)
    ood_members: float | None = None


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Of one output of logits, from one source.

    Attributes:
        rows: how many answers there are: samples, or their positions where an output has further axes.
        classes: how many there are.
        each: of the members, in their order.
        mean: of the members' scores.
        ensemble: scores of the mean of the members' probabilities.
        gain: of the ensemble over `mean`; positive is better, in every score.
        diversity: how different the members' answers are.
        reliability: of the ensemble.
        member_reliability: of all members' answers together.
        wrong: by uncertainty, how well it separates wrong answers of the ensemble from right ones.
        coverage: by uncertainty.
        ood: by uncertainty, how well it separates other data, that do not belong, from these; empty without such data.
        uncertainty: by uncertainty its mean over these data, and over the others.
        histograms: by uncertainty.
        stopped: members one after the other, the fewest first; empty of one member.
    """

    rows: int
    classes: int
    each: tuple[Scores, ...]
    mean: Scores
    ensemble: Scores
    gain: Scores
    diversity: Diversity
    reliability: tuple[Bin, ...]
    member_reliability: tuple[Bin, ...]
    wrong: Mapping[str, Separation]
    coverage: Mapping[str, Coverage]
    ood: Mapping[str, Separation]
    uncertainty: Mapping[str, tuple[float, ...]]
    histograms: Mapping[str, Histogram]
    stopped: tuple[Stopped, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Of one output that is a value, from one source. Errors have the unit of the output.

    Attributes:
        rows: samples.
        elements: numbers of each.
        each: root mean squared error of the members, in their order.
        mean: of the members' errors.
        rmse: of the ensemble: of the members' mean.
        gain: of the ensemble over `mean`.
        each_absolute: mean absolute error of the members, which is the CRPS of one value.
        nll: mean negative log-likelihood of the targets under normal distributions with the members' mean and variance,
            nats; None of one member.
        crps: continuous ranked probability score of these; None of one member.
        crps_members: that of the members as they are.
        deviation: mean standard deviation over the members.
        intervals: of the normal distributions.
        ood: how well the deviation separates data that do not belong; None without.
    """

    rows: int
    elements: int
    each: tuple[float, ...]
    mean: float
    rmse: float
    gain: float
    each_absolute: tuple[float, ...]
    nll: float | None
    crps: float | None
    crps_members: float
    deviation: float
    intervals: tuple[Interval, ...]
    ood: Separation | None


@dataclass(frozen=True, kw_only=True)
class SourceEvaluation:
    """What one source of answers is worth.

    Attributes:
        name: "runtime", with another precision "runtime-int8" and so on; "float64"; or as an artifact is called in
            `verify`.
        runtime: what computed it, in words.
        precision: the arithmetic.
        member_cost: of one member, in runs of the plain network in float32; None where nobody timed it.
        classification: None where the output is a value.
        regression: None where it is not.
        difference: None of the first source.
    """

    name: str
    runtime: str
    classification: Classification | None
    regression: Regression | None
    difference: Difference | None
    precision: str = "float32"
    member_cost: float | None = None


@dataclass(frozen=True, kw_only=True)
class FittedTemperature:
    """The temperature with which the ensemble's likelihood is largest on these data.

    Attributes:
        value: what logits are to be divided by.
        rows: how many it was fitted on.
        before, after: the ensemble's scores on these very rows.
        remark: that it is at an end of what is searched, why that may be, and what to do; empty elsewhere.
    """

    value: float
    rows: int
    before: Scores
    after: Scores
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class ChosenUntil:
    """The order of members and the rule that take the fewest members for a stated loss.

    Attributes:
        order: places of members along the first axis of the logits; in an `Evaluation` the members themselves.
        precision: the arithmetic of the logits.
        confidence: the mean probability of a class at which a row stops.
        least: members that are asked in any case.
        rows: how many they were chosen on.
        order_rows: how many of these chose the order and nothing else; the losses are those of the others.
        level: probability with which each bound holds.
        members: that a row takes, mean.
        scores: of the mean probabilities over the members that a row takes.
        all_scores: of those of all members, with which the loss is compared.
        accuracy_drop: of the accuracy of all members, a share.
        changed: share of answers that are others than those of all members.
        ece_rise: by how much the calibration error is larger than that of all members.
        remark: that it stops nobody, or hardly anybody, why that is, and what to do; empty elsewhere.
    """

    order: tuple[int, ...]
    confidence: float
    least: int
    rows: int
    level: float
    members: float
    scores: Scores
    all_scores: Scores
    accuracy_drop: Loss
    changed: Loss
    ece_rise: Loss
    precision: str = "float32"
    order_rows: int = 0
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a bundle is worth on some data.

    Attributes:
        bundle: its name.
        digest: which one it is.
        output: the output that was evaluated.
        data: where the samples come from.
        samples: how many.
        ood: where those come from that do not belong; "" without.
        ood_samples: how many of those that do not belong.
        members: those that were asked.
        class_names: empty where nobody named them.
        class_order: how classes got their numbers, in words; "" where the data have the network's.
        sources: what answered; the others are compared with the first: PyTorch in float64 where artifacts were asked
            for and it can be run, otherwise the runtime in float32.
        normalised: how pictures among the data were; None where there are none.
        ood_normalised: the same of the other data.
        bins: of the calibration error, of equal width.
        not_run: by source, why it was not run.
        temperature: fitted on the first source's answers; None where nobody asked for it.
        order: of the members, where they are asked one after the other: the bundle's own, or that of `members`.
        until: chosen on these data, of logits that are divided by the temperature; None where nobody asked for it.
        costs: whose members were timed where there are costs, and how; "" without.
    """

    bundle: str
    digest: str
    output: str
    data: str
    samples: int
    ood: str
    ood_samples: int
    members: tuple[int, ...]
    class_names: tuple[str, ...]
    class_order: str
    bins: int
    sources: tuple[SourceEvaluation, ...]
    not_run: Mapping[str, str]
    normalised: AppliedNormalisation | None = None
    ood_normalised: AppliedNormalisation | None = None
    temperature: FittedTemperature | None = None
    order: tuple[int, ...] = ()
    until: ChosenUntil | None = None
    costs: str = ""
