"""What `evaluate` found, as tables."""

from typing import TYPE_CHECKING

from hnexport.cli.pictures import told
from hnexport.cli.render import Column, Table, say, show_table
from hnexport.cli.render_stopped import print_chosen, print_stopped
from hnexport.evaluate.page import NAMES
from hnexport.text import number_of

if TYPE_CHECKING:
    from hnexport.evaluate.measures import Scores
    from hnexport.evaluate.results import Classification, Evaluation, Regression

__all__ = ["print_evaluation"]

MOST_MEMBERS = 32  # of more, the best and the worst are shown
ANSWERED = (1.0, 0.95, 0.9, 0.8, 0.5)


def print_evaluation(found: "Evaluation", *, wide: bool = False) -> None:
    """Scores of members and ensemble; sources side by side where there are several; what uncertainty is good for."""
    logits, value = found.sources[0].classification, found.sources[0].regression
    if logits is not None:
        _print_scores(found, logits, wide=wide)
    if value is not None:
        _print_values(found, value, wide=wide)
    if len(found.sources) > 1:
        _print_sources(found, wide=wide)
    if logits is not None:
        _print_uncertainty(found, logits, wide=wide)
        print_stopped(found, wide=wide)
    fitted = found.temperature
    if how := told((found.normalised, found.ood_normalised)):
        say(how)
    if fitted is not None:
        say(
            f"temperature {fitted.value:.4f}, fitted on these {fitted.rows:,} rows: the ensemble's NLL there goes from "
            f"{fitted.before.nll:.4f} to {fitted.after.nll:.4f}, its calibration error from {fitted.before.ece:.4f} to "
            f"{fitted.after.ece:.4f}, its accuracy from {fitted.before.accuracy:.4f} to {fitted.after.accuracy:.4f}"
        )
        if fitted.remark:
            say(fitted.remark)
    print_chosen(found)
    for name, why in found.not_run.items():
        say(f"not run: {name}: {why}")


def _print_scores(found: "Evaluation", part: "Classification", *, wide: bool) -> None:
    best = max(range(len(part.each)), key=lambda row: part.each[row].accuracy)
    worst = min(range(len(part.each)), key=lambda row: part.each[row].accuracy)
    chosen = range(len(part.each)) if len(part.each) <= MOST_MEMBERS else sorted({best, worst})
    rows = [_scores(f"member {found.members[row]}", part.each[row]) for row in chosen]
    members = len(rows)
    if len(part.each) > 1:
        rows += [_scores("members' mean", part.mean), _scores("ensemble", part.ensemble)]
        rows.append(["gain", *(f"{text:+.4f}" for text in _numbers(part.gain))])
    columns = (
        Column(""),
        Column("accuracy", right=True),
        Column("NLL, nats", right=True),
        Column("Brier", right=True),
        Column(f"ECE, {found.bins} bins", right=True),
    )
    source = found.sources[0]
    title = f"{found.bundle} on {number_of(found.samples, 'sample')} of {found.data}, {source.runtime}"
    show_table(Table(title=title, columns=columns, rows=rows, rules=frozenset({members})), wide=wide)
    if found.class_order:
        say(f"classes: {found.class_order}")
    if len(part.each) > 1:
        held = part.diversity
        say(
            f"diversity: two members answer differently on {held.disagreement:.1%}, all agree on {held.all_agree:.1%}, "
            f"at least one is right on {held.any_right:.1%}; mutual information {held.mutual_information:.4f} nats"
        )


def _print_values(found: "Evaluation", part: "Regression", *, wide: bool) -> None:
    pairs = list(zip(found.members, part.each, part.each_absolute, strict=True))
    shown = pairs if len(pairs) <= MOST_MEMBERS else [min(pairs, key=_by_error), max(pairs, key=_by_error)]
    rows: list[tuple[str, ...]] = [
        (f"member {member}", f"{rmse:.5g}", f"{absolute:.5g}", "", "") for member, rmse, absolute in shown
    ]
    if part.nll is not None and part.crps is not None:
        numbers = (part.rmse, part.crps, part.crps_members, part.nll)
        rows.append(("ensemble", *(f"{number:.5g}" for number in numbers)))
    columns = (
        Column(""),
        Column("RMSE", right=True),
        Column("CRPS", right=True),
        Column("CRPS of the members\nas they are", right=True, rank=1),
        Column("normal NLL, nats", right=True),
    )
    what = f"{found.output} on {number_of(found.samples, 'sample')} of {found.data}"
    title = f"{found.bundle}, {what}, {found.sources[0].runtime}"
    show_table(Table(title=title, columns=columns, rows=rows, rules=frozenset({len(shown)})), wide=wide)
    if part.intervals:
        held = ", ".join(
            f"{one.observed:.1%} in the middle {one.nominal:.0%}" for one in part.intervals if _is_told(one.nominal)
        )
        say(f"mean standard deviation over the members {part.deviation:.5g}; targets: {held}")
    if part.ood is not None:
        others = f"{number_of(found.ood_samples, 'sample')} of {found.ood}"
        say(f"AUROC of {others} by standard deviation: {part.ood.auroc:.4f}")


def _is_told(nominal: float) -> bool:
    return nominal in (0.5, 0.9, 0.99)


def _by_error(pair: tuple[int, float, float]) -> float:
    return pair[1]


def _numbers(scores: "Scores") -> tuple[float, float, float, float]:
    return scores.accuracy, scores.nll, scores.brier, scores.ece


def _scores(name: str, scores: "Scores") -> list[str]:
    return [name, *(f"{number:.4f}" for number in _numbers(scores))]


def _print_sources(found: "Evaluation", *, wide: bool) -> None:
    """A row for each source: its scores, and how far it is from the first."""
    rows: list[tuple[str, ...]] = []
    if found.sources[0].classification is None:
        _print_value_sources(found, wide=wide)
        return
    for source in found.sources:
        own, away = source.classification, source.difference
        if own is None:
            continue
        changed = ["-"] * 3
        if away is not None:
            changed = [f"{away.probabilities:.1e}", str(away.answers), str(away.ensemble_answers)]
        rows.append((source.name, *(f"{number:.4f}" for number in _numbers(own.ensemble)), *changed, source.runtime))
    columns = (
        Column("source", wrap=True, least=12),
        Column("accuracy", right=True),
        Column("NLL", right=True),
        Column("Brier", right=True, rank=2),
        Column("ECE", right=True, rank=2),
        Column("largest |Δp|", right=True),
        Column("members'\nanswers changed", right=True),
        Column("ensemble's", right=True, rank=1),
        Column("runtime", wrap=True, rank=3),
    )
    title = f"the ensemble from each source, differences from {found.sources[0].name}"
    show_table(Table(title=title, columns=columns, rows=rows), wide=wide)


def _print_value_sources(found: "Evaluation", *, wide: bool) -> None:
    rows = [
        (
            source.name,
            f"{source.regression.rmse:.5g}" if source.regression else "",
            "-" if source.difference is None else f"{source.difference.probabilities:.1e}",
            source.runtime,
        )
        for source in found.sources
    ]
    columns = (
        Column("source", wrap=True, least=12),
        Column("RMSE", right=True),
        Column("largest difference", right=True),
        Column("runtime", wrap=True, rank=1),
    )
    title = f"the ensemble from each source, differences from {found.sources[0].name}"
    show_table(Table(title=title, columns=columns, rows=rows), wide=wide)


def _print_uncertainty(found: "Evaluation", part: "Classification", *, wide: bool) -> None:
    """A row for each uncertainty: whether it finds what does not belong, and mistakes."""
    shown = [name for name in part.coverage if len(part.each) > 1 or name != "mutual_information"]
    rows = []
    for name in shown:
        away = [f"{part.ood[name].auroc:.4f}", f"{part.ood[name].fpr95:.2%}"] if name in part.ood else []
        wrong = f"{part.wrong[name].auroc:.4f}" if name in part.wrong else "-"
        means = [f"{mean:.4f}" for mean in part.uncertainty[name]]
        rows.append((NAMES[name], *away, wrong, *means))
    other = (
        Column("AUROC,\nother data", right=True),
        Column("taken for them\nwhere 95% are found", right=True, rank=1),
    )
    columns = (
        Column("uncertainty"),
        *(other if part.ood else ()),
        Column("AUROC,\nmistakes", right=True),
        Column("mean", right=True, rank=2),
        *((Column("mean of\nother data", right=True, rank=2),) if part.ood else ()),
    )
    against = f"; other data: {number_of(found.ood_samples, 'sample')} of {found.ood}" if found.ood else ""
    title = f"what the ensemble's uncertainty finds{against}"
    show_table(Table(title=title, columns=columns, rows=rows), wide=wide)
    rows = []
    for name in shown:
        curve = part.coverage[name]
        risks = (f"{_risk(curve.coverage, curve.risk, share):.2%}" for share in ANSWERED)
        rows.append((NAMES[name], *risks, f"{curve.area:.2%}"))
    columns = (
        Column("the surest by"),
        *(Column(f"{share:.0%}", right=True) for share in ANSWERED),
        Column("mean of all", right=True),
    )
    show_table(
        Table(title="wrong among the answers, where only so many are given", columns=columns, rows=rows), wide=wide
    )


def _risk(coverage: tuple[float, ...], risk: tuple[float, ...], share: float) -> float:
    """The risk at the largest coverage that is shown and not above `share`."""
    below = [value for where, value in zip(coverage, risk, strict=True) if where <= share + 1e-9]
    return below[-1] if below else risk[0]
