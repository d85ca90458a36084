"""Members one after the other, as `evaluate` shows them: what each rule costs, and the rule that was chosen."""

from typing import TYPE_CHECKING

from hnexport.cli.render import Column, Table, say, show_table
from hnexport.evaluate.curves import curves
from hnexport.evaluate.page import NAMES

if TYPE_CHECKING:
    from hnexport.evaluate.results import Evaluation, SourceEvaluation

__all__ = ["print_chosen", "print_stopped"]

_MOST_MEMBERS = 32


def print_stopped(found: "Evaluation", *, wide: bool) -> None:
    """A table for each precision, a row for each rule by which members are asked one after the other."""
    for source in curves(found):
        _print_one(found, source, wide=wide)
    if len(curves(found)) > 1:
        say(f"answers changed: from those of all members, of {found.sources[0].name}")
    if found.costs:
        say(f"cost: plain float32 runs a row, of {found.costs}")


def _print_one(found: "Evaluation", source: "SourceEvaluation", *, wide: bool) -> None:
    stopped = () if source.classification is None else source.classification.stopped
    cost, names = source.member_cost, tuple(stopped[0].ood)
    rows = [
        (
            one.until,
            f"{one.members:.3f}",
            *(() if cost is None else (f"{one.members * cost:.3f}",)),
            *(f"{number:.4f}" for number in (one.scores.accuracy, one.scores.nll, one.scores.brier, one.scores.ece)),
            str(one.changed),
            *(f"{one.ood[name]:.4f}" for name in names),
            *(() if one.ood_members is None else (f"{one.ood_members:.3f}",)),
        )
        for one in stopped
    ]
    columns = (
        Column("until"),
        Column("members\na row", right=True),
        *(() if cost is None else (Column("cost", right=True),)),
        Column("accuracy", right=True),
        Column("NLL, nats", right=True),
        Column("Brier", right=True, rank=3),
        Column(f"ECE,\n{found.bins} bins", right=True, rank=1),
        Column("answers\nchanged", right=True),
        *(Column(f"AUROC,\n{NAMES[name]}", right=True, rank=2) for name in names),
        *((Column("members,\nother data", right=True, rank=3),) if names else ()),
    )
    ids = found.order or found.members
    order = ", ".join(map(str, ids)) if len(ids) <= _MOST_MEMBERS else f"all {len(ids)}"
    title = f"members one after the other (hnexport predict --until), in the order {order}, {source.runtime}"
    show_table(Table(title=title, columns=columns, rows=rows), wide=wide)


def print_chosen(found: "Evaluation") -> None:
    """The rule that was chosen for a stated loss, what it cost on these rows, and what it costs at most."""
    chosen = found.until
    if chosen is None:
        return
    order = ", ".join(map(str, chosen.order[:_MOST_MEMBERS])) + ", …" * (len(chosen.order) > _MOST_MEMBERS)
    least = f", at least {chosen.least}" * (chosen.least > 1)
    losses = (
        ("accuracy lower by", chosen.accuracy_drop),
        ("share of answers changed", chosen.changed),
        ("calibration error higher by", chosen.ece_rise),
    )
    parts = []
    for what, loss in losses:
        bound = "" if loss.bound is None else f", at most {loss.bound:.4f}"
        stated = "" if loss.stated is None else f" (stated: {loss.stated:g})"
        parts.append(f"{what} {loss.measured:.4f}{bound}{stated}")
    ordering = f", {chosen.order_rows:,} of which chose the order," * (chosen.order_rows > 0)
    say(
        f"until, chosen on these {chosen.rows:,} rows{ordering} in {chosen.precision}: members in the order "
        f"{order}{least}, until a class has the mean probability {chosen.confidence:g}: {chosen.members:.3f} of "
        f"{len(chosen.order)} a row. Against all of them, {chosen.level:.0%} sure: {'; '.join(parts)}"
    )
    if chosen.remark:
        say(chosen.remark)
