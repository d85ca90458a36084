"""What was found, as tables of words: for the terminal and for the page alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.bootstrap import Interval
from study.prices import OwnPrice
from study.stops import Stopped
from study.worth import Compared

__all__ = ["Asked", "Found", "Table", "asked", "comparison", "own_price", "stopping", "verdicts"]

MOST_CHANGED, MOST_DROP, MOST_RISE, MOST_PRICE = 0.01, 0.005, 0.01, 0.7


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of one task.

    Attributes:
        images: all of them were reported.
        stopped: the rule that is judged first.
        own: prices of the network that was trained, of the first fold.
    """

    task: str
    images: int
    compared: tuple[Compared, ...]
    stopped: tuple[Stopped, ...]
    own: tuple[OwnPrice, ...]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an ensemble in int8 should keep, and whether it does."""

    what: str
    limit: float
    found: float

    @property
    def kept(self) -> bool:
        """Whether it does."""
        return self.found <= self.limit


def asked(found: Found, prices: Mapping[str, float]) -> list[Asked]:
    """The limits, of int8 in onnxruntime and of the first rule."""
    small, first = next(one for one in found.compared if one.kind == "int8"), found.stopped[0]
    apart = sum(one.apart for one in found.stopped)
    return [
        Asked(what="answers of members changed by int8, share", limit=MOST_CHANGED, found=small.member_change.found),
        Asked(what="answers of all together changed, share", limit=MOST_CHANGED, found=small.difference.changed.found),
        Asked(what="accuracy lost by int8", limit=MOST_DROP, found=0.0 - small.difference.accuracy.low),
        Asked(
            what="accuracy lost, no more members than needed",
            limit=MOST_DROP,
            found=0.0 - first.difference.accuracy.low,
        ),
        Asked(
            what="calibration error risen, no more members than needed",
            limit=MOST_RISE,
            found=first.difference.ece.high,
        ),
        Asked(
            what="price in plain runs, no more members than needed",
            limit=MOST_PRICE,
            found=first.members.found * max(prices.values()),
        ),
        Asked(what="images that take another number of members in another batch", limit=0, found=apart),
    ]


def verdicts(found: Found, prices: Mapping[str, float]) -> Table:
    """A line for each limit."""
    rows = [
        (one.what, f"{one.limit:g}", f"{one.found:.4f}".rstrip("0").rstrip("."), "yes" if one.kept else "NO")
        for one in asked(found, prices)
    ]
    title = f"{found.task}: what was asked (losses at the far end of the interval, the price at its dearest batch size)"
    return Table(title=title, columns=("", "at most", "found", "kept"), rows=tuple(rows))


def comparison(found: Found) -> Table:
    """A line for each kind of members."""
    columns = (
        "members in",
        "accuracy of one, mean",
        f"answers changed, of {found.compared[0].of_answers:,}",
        "accuracy of all",
        f"answers changed, of {found.images:,}",
        "accuracy minus float32's, points",
        "ECE",
        "ECE minus float32's",
    )
    rows = [
        (
            one.kind,
            f"{one.member_accuracy:.4f}",
            f"{one.members_changed}, {100 * one.member_change.found:.2f} %",
            f"{one.accuracy:.4f}",
            str(one.changed),
            _points(one.difference.accuracy),
            f"{one.ece:.4f}",
            _between(one.difference.ece, 4),
        )
        for one in found.compared
    ]
    return Table(title=f"{found.task}: fewer bits", columns=columns, rows=tuple(rows))


def stopping(found: Found, prices: Mapping[str, float]) -> Table:
    """A line for each rule."""
    columns = (
        "members, until",
        "thresholds of the folds",
        "members an image",
        "accuracy",
        f"answers changed, of {found.images:,}",
        "accuracy minus float32's, points",
        "ECE",
        "ECE minus float32's",
        f"price in plain runs, batch {', '.join(prices)}",
    )
    rows = [
        (
            one.rule.text,
            _thresholds(one),
            _between(one.members, 3, sign=""),
            f"{one.accuracy:.4f}",
            str(one.changed),
            _points(one.difference.accuracy),
            f"{one.ece:.4f}",
            _between(one.difference.ece, 4),
            _price(one, prices),
        )
        for one in found.stopped
    ]
    return Table(title=f"{found.task}: no more members than needed", columns=columns, rows=tuple(rows))


def own_price(found: Found) -> Table:
    """A line for each call."""
    sizes = [*found.own[0].ratios]
    columns = (
        "processor time over that of one float32 member",
        *(f"batch {size}" for size in sizes),
        *(f"batch {size}, ms" for size in sizes),
    )
    rows = [
        (
            one.call,
            *(f"{one.ratios[size]:.2f}" for size in sizes),
            *(f"{one.milliseconds[size]:.2f}" for size in sizes),
        )
        for one in found.own
    ]
    return Table(title=f"{found.task}: the network that was trained, one thread", columns=columns, rows=tuple(rows))


def _thresholds(one: Stopped) -> str:
    """The smallest and the largest, and how many folds found none."""
    if one.rule.drop is None:
        return ""
    chosen: Sequence[float] = [fold.until.confidence or 0.0 for fold in one.chosen if fold.until is not None]
    without = len(one.chosen) - len(chosen)
    said = [f"{min(chosen):g} to {max(chosen):g}"] if chosen else []
    return "; ".join([*said, *([f"{without} found none"] if without else [])])


def _price(one: Stopped, prices: Mapping[str, float]) -> str:
    """In plain runs of WRN-28-10."""
    if one.rule.kind != "int8":
        return ", ".join([f"{one.members.found:.2f}"] * len(prices))
    return ", ".join(f"{one.members.found * price:.2f}" for price in prices.values())


def _points(interval: Interval) -> str:
    return _between(Interval(**{name: 100 * value for name, value in vars(interval).items()}), 2)


def _between(interval: Interval, digits: int, sign: str = "+") -> str:
    found, low, high = (f"{value:{sign}.{digits}f}" for value in (interval.found, interval.low, interval.high))
    return found if low == high else f"{found} ({low} to {high})"
