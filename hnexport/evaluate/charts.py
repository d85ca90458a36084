"""Where things of an evaluation lie in a drawing: numbers to coordinates. The template draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hnexport.evaluate.results import Bin, Classification, Coverage, Histogram, Interval, Scores, Separation

__all__ = [
    "Area",
    "Mark",
    "Plot",
    "Rectangle",
    "Tick",
    "histogram",
    "intervals",
    "members",
    "reliability",
    "risk",
    "roc",
    "stopped",
]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 300, 52, 24, 14, 44


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label at a place of an axis."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Area:
    """Numbers from `low` to `high` on each axis, in a frame of pixels."""

    low: tuple[float, float] = (0.0, 0.0)
    high: tuple[float, float] = (1.0, 1.0)
    height: int = HEIGHT

    def x(self, value: float) -> float:
        """Pixels from the left."""
        share = (value - self.low[0]) / (self.high[0] - self.low[0])
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        share = (value - self.low[1]) / (self.high[1] - self.low[1])
        return round(self.height - BOTTOM - share * (self.height - BOTTOM - TOP), 1)

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """The points of a polyline."""
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in zip(xs, ys, strict=True))


@dataclass(frozen=True, kw_only=True)
class Rectangle:
    """A bar; `title` is what it says of itself."""

    x: float
    y: float
    width: float
    height: float
    title: str
    colour: str = "bar"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A line or a dot with its colour and what it is called."""

    name: str
    colour: str
    points: str = ""
    x: float = 0.0
    y: float = 0.0
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing.

    Attributes:
        title, text: above it.
        x_label, y_label: of the axes.
        key: whether the marks are named below it.
    """

    title: str
    text: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bars: tuple[Rectangle, ...] = ()
    lines: tuple[Mark, ...] = ()
    dots: tuple[Mark, ...] = ()
    key: tuple[Mark, ...] = ()
    height: int = HEIGHT


def reliability(bins: Sequence[Bin], each: Sequence[Bin], ece: float, several: bool) -> Plot:
    """Accuracy by confidence: the closer to the diagonal, the better a confidence can be believed."""
    area = Area()
    bars = [_bar(area, (one.low, one.high), (0.0, one.accuracy), _said(one), "bar") for one in bins if one.count]
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
        text=f"How many answers of a confidence are right: it errs by {_percent(ece)} on average. Dots grow with rows.",
        x_label="confidence",
        y_label="accuracy",
        x_ticks=_ticks(area, "x"),
        y_ticks=_ticks(area, "y"),
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
            name=f"{_percent(one.observed)} in the middle {_percent(one.nominal)}",
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
        x_ticks=_ticks(area, "x"),
        y_ticks=_ticks(area, "y"),
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
        for (name, curve), colour in zip(curves, ("one", "two", "three"), strict=False)
    )
    return Plot(
        title="Risk against coverage",
        text="Wrong among the answers, where only the surest are given: the lower on the left, the better.",
        x_label="answered",
        y_label="wrong among them",
        x_ticks=_ticks(area, "x"),
        y_ticks=_ticks(area, "y"),
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
            for (name, curve), colour in zip(curves, ("one", "two", "three"), strict=False)
        ),
    )
    return Plot(
        title=title,
        text=text,
        x_label=labels[0],
        y_label=labels[1],
        x_ticks=_ticks(area, "x"),
        y_ticks=_ticks(area, "y"),
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
            bars.append(_bar(area, (low, high), (0.0, right**0.5), f"{place}: {_percent(right)} of rows, right", "bar"))
        if whole > right:
            heights, share = (right**0.5, whole**0.5), _percent(whole - right)
            bars.append(_bar(area, (low, high), heights, f"{place}: {share} of rows, wrong", "two"))
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
        x_ticks=_ticks(area, "x", percent=False),
        y_ticks=tuple(Tick(at=area.y(share**0.5), label=f"{100 * share:g}%") for share in shares),
        bars=tuple(bars),
        lines=tuple(lines),
        key=tuple(key),
    )


def members(found: Classification, ids: Sequence[int]) -> Plot:
    """Each member by accuracy and likelihood, and the ensemble beside them."""
    scores = [*found.each, found.ensemble]
    low, high = _padded([one.nll for one in scores]), _padded([one.accuracy for one in scores])
    area = Area(low=(low[0], high[0]), high=(low[1], high[1]))

    def mark(one: Scores, name: str, colour: str, radius: float) -> Mark:
        text = f"{name}: accuracy {_percent(one.accuracy)}, {one.nll:.4f} nats"
        return Mark(name=text, colour=colour, x=area.x(one.nll), y=area.y(one.accuracy), points=f"{radius}")

    dots = [mark(one, f"member {number}", "two", 5) for number, one in zip(ids, found.each, strict=True)]
    dots.append(mark(found.ensemble, "ensemble", "one", 8))
    return Plot(
        title="Members and ensemble",
        text="Up and to the left is better.",
        x_label="negative log-likelihood, nats",
        y_label="accuracy",
        x_ticks=_ticks(area, "x", percent=False),
        y_ticks=_ticks(area, "y"),
        dots=tuple(dots),
        key=(Mark(name="member", colour="two"), Mark(name="ensemble", colour="one")),
    )


def stopped(found: Classification) -> Plot:
    """Accuracy against how many members a row takes, by the rule that stops them."""
    rows = found.stopped
    low, high = _padded([one.scores.accuracy for one in rows])
    area = Area(low=(min(one.members for one in rows) - 0.1, low), high=(max(one.members for one in rows) + 0.1, high))
    dots = tuple(
        Mark(
            name=f"{one.until}: {one.members:.2f} members, accuracy {_percent(one.scores.accuracy)}",
            colour="one" if one.until == "all" else "two",
            x=area.x(one.members),
            y=area.y(one.scores.accuracy),
            points="5",
        )
        for one in rows
    )
    return Plot(
        title="Members one after the other",
        text="Until more would not change the answer, or its probability is high enough: further left is cheaper.",
        x_label="members a row, mean",
        y_label="accuracy",
        x_ticks=_ticks(area, "x", percent=False),
        y_ticks=_ticks(area, "y"),
        dots=dots,
        key=(Mark(name="stopped early", colour="two"), Mark(name="all members", colour="one")),
    )


def _bar(area: Area, across: tuple[float, float], up: tuple[float, float], title: str, colour: str) -> Rectangle:
    left, right, bottom, top = *map(area.x, across), *map(area.y, up)
    width, height = round(max(right - left - 2, 1), 1), round(bottom - top, 1)
    return Rectangle(x=left + 1, y=top, width=width, height=height, title=title, colour=colour)


def _said(one: Bin) -> str:
    place = f"{_percent(one.low)} to {_percent(one.high)}"
    return f"{place}: {one.count} rows, confidence {_percent(one.confidence)}, accuracy {_percent(one.accuracy)}"


def _radius(count: int, most: int) -> float:
    return round(2.5 + 5 * math.sqrt(count / most), 1)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    space = 0.12 * (high - low) or 0.01
    return low - space, high + space


def _ticks(area: Area, axis: str, *, percent: bool = True) -> tuple[Tick, ...]:
    """Round numbers, about five."""
    number = 0 if axis == "x" else 1
    low, high = area.low[number], area.high[number]
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    values = [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]
    digits = max(0, -math.floor(math.log10(step * (100 if percent else 1)) + 1e-9))
    digits += int(round(step / power, 6) == 2.5)
    place = area.x if axis == "x" else area.y
    return tuple(
        Tick(at=place(value), label=f"{100 * value:.{digits}f}%" if percent else f"{value:.{digits}f}")
        for value in values
    )


def _percent(share: float) -> str:
    return f"{share:.1%}"
