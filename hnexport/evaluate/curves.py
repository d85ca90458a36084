"""What stopping costs, as curves: accuracy, calibration and AUROC against members a row, or what they cost.

A line for each precision, through the rules that stop at a probability and all members; the rules that keep an answer
are dots beside it.
"""

from collections.abc import Callable, Sequence

from hnexport.evaluate.drawing import COLOURS, Area, Mark, Plot, padded, percent, ticks
from hnexport.evaluate.results import Evaluation, SourceEvaluation, Stopped

__all__ = ["curves", "stopped_plots"]

_BESIDE = ("exact", "votes", "bundle")
_SIZES = {"all": "6", "exact": "3", "votes": "3", "bundle": "5"}


def curves(found: Evaluation) -> list[SourceEvaluation]:
    """The sources of which there is a curve: the runtime in each precision."""
    able = [one for one in found.sources if one.classification is not None and one.classification.stopped]
    return [one for one in able if one.name.startswith("runtime")] or able[:1]


def stopped_plots(found: Evaluation) -> list[Plot]:
    """The drawings; none of one member alone."""
    sources = curves(found)
    if not sources:
        return []
    first = sources[0].classification
    plots = [
        _plot(
            sources,
            "Members one after the other",
            "Until an answer is probable enough; small dots: until the rest cannot change it; large ones: all members.",
            ("accuracy", lambda one: one.scores.accuracy, True),
        ),
        _plot(
            sources,
            "Calibration of those that stop",
            f"Expected calibration error over {found.bins} bins: lower is better.",
            ("calibration error", lambda one: one.scores.ece, True),
        ),
        _plot(
            sources,
            "Likelihood of those that stop",
            "Mean negative log-likelihood of the right class: lower is better.",
            ("negative log-likelihood, nats", lambda one: one.scores.nll, False),
        ),
    ]
    if first is not None and first.stopped[0].ood:
        plots += [
            _plot(
                sources,
                f"Other data, by {said}",
                "How well the uncertainty of the members that a row takes finds what does not belong.",
                ("AUROC", lambda one, name=name: one.ood[name], False),  # type: ignore[misc]
            )
            for name, said in (("entropy", "entropy"), ("mutual_information", "mutual information"))
        ]
    return plots


def _plot(
    sources: Sequence[SourceEvaluation], title: str, text: str, axis: tuple[str, Callable[[Stopped], float], bool]
) -> Plot:
    """One number of every rule against what the rule costs: in plain runs where all were timed, else in members."""
    label, value, is_share = axis
    timed = all(source.member_cost is not None for source in sources)
    rows = [(source, one) for source in sources if source.classification for one in source.classification.stopped]
    across = {id(one): one.members * ((source.member_cost or 1.0) if timed else 1.0) for source, one in rows}
    low, high = padded([value(one) for _, one in rows], shares=is_share)
    left, right = padded(list(across.values()))
    area = Area(low=(left, low), high=(right, high))
    lines, dots, key = [], [], []
    for source, colour in zip(sources, COLOURS, strict=False):
        own = [one for other, one in rows if other is source]
        through = [one for one in own if one.until not in _BESIDE]
        points = area.line([across[id(one)] for one in through], [value(one) for one in through])
        lines.append(Mark(name=source.precision, colour=colour, points=points))
        for one in own:
            number = percent(value(one)) if is_share else f"{value(one):.4f}"
            said = f"{source.precision}, {one.until}: {one.members:.2f} members, {label} {number}"
            size = _SIZES.get(one.until, "4")
            dots.append(Mark(name=said, colour=colour, x=area.x(across[id(one)]), y=area.y(value(one)), points=size))
        key.append(Mark(name=source.precision, colour=colour))
    return Plot(
        title=title,
        text=text,
        x_label="plain float32 runs a row, mean" if timed else "members a row, mean",
        y_label=label,
        x_ticks=ticks(area, "x", percent=False),
        y_ticks=ticks(area, "y", percent=is_share),
        lines=tuple(lines),
        dots=tuple(dots),
        key=tuple(key),
    )
