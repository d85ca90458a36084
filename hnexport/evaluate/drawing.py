"""What a drawing is made of, and where numbers lie in it. The template draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["COLOURS", "Area", "Mark", "Plot", "Rectangle", "Tick", "bar", "padded", "percent", "ticks"]

COLOURS = ("one", "two", "three", "four", "five")
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
    """A line or a dot with its colour and what it is called.

    Attributes:
        points: of a line its points, as `Area.line` writes them; of a dot its radius in pixels.
        x, y: of a dot its centre in pixels.
    """

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
        key: the marks that are named below it.
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


def bar(area: Area, across: tuple[float, float], up: tuple[float, float], title: str, colour: str) -> Rectangle:
    """A bar between numbers, a pixel of space on each side."""
    left, right, bottom, top = *map(area.x, across), *map(area.y, up)
    width, height = round(max(right - left - 2, 1), 1), round(bottom - top, 1)
    return Rectangle(x=left + 1, y=top, width=width, height=height, title=title, colour=colour)


def padded(values: Sequence[float], *, shares: bool = False) -> tuple[float, float]:
    """The smallest and the largest, with a little space beyond; shares are between 0 and 1."""
    low, high = min(values), max(values)
    space = 0.12 * (high - low) or 0.01
    if shares:
        return max(low - space, 0.0), min(high + space, 1.0)
    return low - space, high + space


def ticks(area: Area, axis: str, *, percent: bool = True) -> tuple[Tick, ...]:
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


def percent(share: float) -> str:
    """A share as people write it."""
    return f"{share:.1%}"
