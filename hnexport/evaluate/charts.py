"""An evaluation's drawings: reliability, risk, curves of uncertainties, members."""

import math
from collections.abc import Sequence

from hnexport.evaluate.drawing import COLOURS, Area, Mark, Plot, Tick, bar, padded, percent, ticks
from hnexport.evaluate.measures import Bin, Coverage, Histogram, Interval, Scores, Separation
from hnexport.evaluate.results import Classification

__all__ = ["histogram", "intervals", "members", "reliability", "risk", "roc"]


def reliability(bins: Sequence[Bin], each: Sequence[Bin], ece: float, several: bool) -> Plot:
    """Accuracy by confidence: the closer to the diagonal, the better a confidence can be believed."""
    area = Area()
    bars = [bar(area, (one.low, one.high), (0.0, one.accuracy), _said(one), "bar") for one in bins if one.count]
    held = [one for one in each if one.count]
    lines = [Mark(name="as it should be", colour="soft", points=area.line((0, 1), (0, 1)), dashed=True)]
    if several:
        points = area.line([one.confidence for one in held], [one.accuracy for one in held])
        lines.append(Mark(name="members", colour="two", points=points))
    found = [one for one in bins if one.count]
    points = area.line([one.confidence for one in found], [one.accuracy for one in found])
    lines.append(Mark(name="ensemble" if several else "member", colour="one", points=points))
    most = max(one.count for one in bins)
    dots = [
        Mark(
            name=f"{one.count} rows",
            colour="one",
            x=area.x(one.confidence),
            y=area.y(one.accuracy),
            points=f"{_radius(one.count, most)}",
        )
        for one in found
    ]
    return Plot(
        title="Reliability",
        text=f"How many answers of a confidence are right: it errs by {percent(ece)} on average. Dots grow with rows.",
        x_label="confidence",
        y_label="accuracy",
        x_ticks=ticks(area, "x"),
        y_ticks=ticks(area, "y"),
        bars=tuple(bars),
        lines=tuple(lines),
        dots=tuple(dots),
        key=tuple(lines),
    )


def intervals(found: Sequence[Interval]) -> Plot:
    """Targets in intervals that should hold so many of them."""
    area = Area()
    points = area.line([one.nominal for one in found], [one.observed for one in found])
    lines = (
        Mark(name="as it should be", colour="soft", points=area.line((0, 1), (0, 1)), dashed=True),
        Mark(name="ensemble", colour="one", points=points),
    )
    dots = tuple(
        Mark(
            name=f"{percent(one.observed)} in the middle {percent(one.nominal)}",
            colour="one",
            x=area.x(one.nominal),
            y=area.y(one.observed),
            points="3.5",
        )
        for one in found
    )
    return Plot(
        title="Reliability",
        text="How many targets lie where so many should: below the diagonal the spread is too small.",
        x_label="should lie within",
        y_label="lie within",
        x_ticks=ticks(area, "x"),
        y_ticks=ticks(area, "y"),
        lines=lines,
        dots=dots,
        key=lines,
    )


def risk(curves: Sequence[tuple[str, Coverage]]) -> Plot:
    """Wrong among the answers that are given."""
    highest = max(max(curve.risk) for _, curve in curves) or 0.01
    area = Area(high=(1.0, highest * 1.05))
    lines = tuple(
        Mark(name=name, colour=colour, points=area.line(curve.coverage, curve.risk))
        for (name, curve), colour in zip(curves, COLOURS, strict=False)
    )
    return Plot(
        title="Risk against coverage",
        text="Wrong among the answers, where only the surest are given: the lower on the left, the better.",
        x_label="answered",
        y_label="wrong among them",
        x_ticks=ticks(area, "x"),
        y_ticks=ticks(area, "y"),
        lines=lines,
        key=lines,
    )


def roc(title: str, text: str, curves: Sequence[tuple[str, Separation]], labels: tuple[str, str]) -> Plot:
    """Found against falsely taken."""
    area = Area()
    lines = (
        Mark(name="chance", colour="soft", points=area.line((0, 1), (0, 1)), dashed=True),
        *(
            Mark(
                name=f"{name}, AUROC {curve.auroc:.3f}",
                colour=colour,
                points=area.line(curve.false_positive, curve.true_positive),
            )
            for (name, curve), colour in zip(curves, COLOURS, strict=False)
        ),
    )
    return Plot(
        title=title,
        text=text,
        x_label=labels[0],
        y_label=labels[1],
        x_ticks=ticks(area, "x"),
        y_ticks=ticks(area, "y"),
        lines=lines,
        key=lines[1:],
    )


def histogram(title: str, text: str, found: Histogram, unit: str) -> Plot:
    """Shares of rows by how uncertain they are; of other data as a line."""
    both = [right + wrong for right, wrong in zip(found.right, found.wrong, strict=True)]
    area = Area(high=(found.edges[-1], max(*both, *found.other, 1e-9) ** 0.5 * 1.05))  # what is rare is seen too
    bars = []
    for low, high, right, whole in zip(found.edges, found.edges[1:], found.right, both, strict=False):
        place = f"{low:.3g} to {high:.3g}"
        if right:
            bars.append(bar(area, (low, high), (0.0, right**0.5), f"{place}: {percent(right)} of rows, right", "bar"))
        if whole > right:
            heights, share = (right**0.5, whole**0.5), percent(whole - right)
            bars.append(bar(area, (low, high), heights, f"{place}: {share} of rows, wrong", "two"))
    key = [Mark(name="right", colour="bar"), Mark(name="wrong", colour="two")]
    lines = []
    if found.other:
        xs = [edge for pair in zip(found.edges, found.edges[1:], strict=False) for edge in pair]
        ys = [share**0.5 for share in found.other for _ in range(2)]
        lines.append(Mark(name="other data", colour="one", points=area.line(xs, ys)))
        key += lines
    shares = [share for share in (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if share**0.5 <= area.high[1]]
    return Plot(
        title=title,
        text=text,
        x_label=unit,
        y_label="share of rows",
        x_ticks=ticks(area, "x", percent=False),
        y_ticks=tuple(Tick(at=area.y(share**0.5), label=f"{100 * share:g}%") for share in shares),
        bars=tuple(bars),
        lines=tuple(lines),
        key=tuple(key),
    )


def members(found: Classification, ids: Sequence[int]) -> Plot:
    """Each member by accuracy and likelihood, and the ensemble beside them."""
    scores = [*found.each, found.ensemble]
    low, high = padded([one.nll for one in scores]), padded([one.accuracy for one in scores], shares=True)
    area = Area(low=(low[0], high[0]), high=(low[1], high[1]))

    def mark(one: Scores, name: str, colour: str, radius: float) -> Mark:
        text = f"{name}: accuracy {percent(one.accuracy)}, {one.nll:.4f} nats"
        return Mark(name=text, colour=colour, x=area.x(one.nll), y=area.y(one.accuracy), points=f"{radius}")

    dots = [mark(one, f"member {number}", "two", 5) for number, one in zip(ids, found.each, strict=True)]
    dots.append(mark(found.ensemble, "ensemble", "one", 8))
    return Plot(
        title="Members and ensemble",
        text="Up and to the left is better.",
        x_label="negative log-likelihood, nats",
        y_label="accuracy",
        x_ticks=ticks(area, "x", percent=False),
        y_ticks=ticks(area, "y"),
        dots=tuple(dots),
        key=(Mark(name="member", colour="two"), Mark(name="ensemble", colour="one")),
    )


def _said(one: Bin) -> str:
    place = f"{percent(one.low)} to {percent(one.high)}"
    return f"{place}: {one.count} rows, confidence {percent(one.confidence)}, accuracy {percent(one.accuracy)}"


def _radius(count: int, most: int) -> float:
    return round(2.5 + 5 * math.sqrt(count / most), 1)
