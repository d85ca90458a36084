"""What is measured of answers, as records: `hnexport.evaluate.results` is made of them."""

from dataclasses import dataclass

__all__ = ["Bin", "Coverage", "Difference", "Diversity", "Histogram", "Interval", "Loss", "Scores", "Separation"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How good class probabilities are.

    Attributes:
        accuracy: share of rows whose most probable class is right.
        nll: mean negative log-likelihood of the right class, in nats.
        brier: mean over rows of the squared distance between probabilities and the right class, 0 to 2.
        ece: expected calibration error: mean distance between confidence and accuracy, over bins by their rows.
    """

    accuracy: float
    nll: float
    brier: float
    ece: float


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The rows whose confidence (largest probability) lies from `low` up to `high`.

    Attributes:
        low: its lower end.
        high: its upper end.
        count: how many rows it has.
        confidence: their mean; 0 where there are none, and so is `accuracy`.
        accuracy: share of them whose answer is right; 0 where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """How different the members' answers are.

    Attributes:
        disagreement: share of rows on which two members answer differently, over all pairs of members.
        all_agree: share of rows on which all give one answer.
        any_right: share of rows on which at least one is right.
        mutual_information: between prediction and member, mean over rows, in nats.
    """

    disagreement: float
    all_agree: float
    any_right: float
    mutual_information: float


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Risk where only the surest answers are given.

    Attributes:
        coverage: shares of rows that are answered, rising to 1.
        risk: share of these answers that are wrong.
        area: mean of the risk over every possible coverage.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: float


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well an uncertainty separates rows that should have more of it from those that should have less.

    Attributes:
        auroc: probability that one of the first has more than one of the second.
        fpr95: share of the second that is taken for the first where 95 % of the first are found.
        false_positive, true_positive: the curve.
    """

    auroc: float
    fpr95: float
    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often an uncertainty has which size.

    Attributes:
        edges: of its bins, of equal width.
        right, wrong: shares of the rows of these data, by whether the ensemble's answer is right.
        other: shares of the rows of data that do not belong; empty without.
    """

    edges: tuple[float, ...]
    right: tuple[float, ...]
    wrong: tuple[float, ...]
    other: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How many targets lie in the middle interval that should hold `nominal` of them.

    Attributes:
        nominal: share of targets that should lie in it.
        observed: share that does.
    """

    nominal: float
    observed: float


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What stopping costs.

    Attributes:
        stated: what it may cost; None where nobody said.
        measured: what it cost on these rows.
        bound: on other rows of the same kind it costs at most this, as surely as `ChosenUntil.level` says; None where
            nobody asked for it.
    """

    stated: float | None
    measured: float
    bound: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far a source is from the first one.

    Attributes:
        against: the first one's name.
        probabilities: largest difference of a member's probability of a class (of a value: of a number).
        ensemble: the same of the ensemble.
        answers: how many of the members' answers changed; 0 where the output is a value.
        ensemble_answers: how many of the ensemble's did.
    """

    against: str
    probabilities: float
    ensemble: float
    answers: int
    ensemble_answers: int
