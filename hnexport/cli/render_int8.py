"""What int8 costs, as a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hnexport.text import number_of

if TYPE_CHECKING:
    from hnexport.quantise.cost import Cost
    from hnexport.quantise.plan import Kept
    from hnexport.tune.int8 import Int8Report

__all__ = ["print_costs", "print_int8"]


def print_int8(report: "Int8Report") -> None:
    """Print the layers that stay in float32, and what each member and the mean lose."""
    from hnexport.cli import render

    where = "others" if report.apart else "the same, since there are no others"
    render.say(
        f"{report.layers} layers compute in int8, by the {report.method.value} ranges of "
        f"{number_of(report.calibrated, 'sample')} of {report.samples}; judged by {report.judged} ({where})"
    )
    rows = [(str(member), cost) for member, cost in zip(report.numbers, report.members, strict=True)]
    _print([*rows, ("mean of all", report.ensemble)], report.kept)
    render.say(_processor(report.integer_products))


def print_costs(costs: Mapping[int, "Cost"], kept: Sequence["Kept"], judged: str) -> None:
    """Print the same of members by their numbers, and by which samples it was found."""
    from hnexport.cli import render

    render.say(f"what fewer bits change, by {judged}")
    _print([(str(member), cost) for member, cost in costs.items()], kept)


def _print(costs: Sequence[tuple[str, "Cost"]], kept: Sequence["Kept"]) -> None:
    from hnexport.cli import render

    for one in kept:
        render.say(f"{one.layer} stays in float32: alone in int8 its signal-to-noise ratio is {one.decibels:.0f} dB")
    columns = (
        render.Column("member"),
        render.Column("relative L2", right=True),
        render.Column("answers as\nfloat32", right=True),
        render.Column("accuracy", right=True),
        render.Column("accuracy\nin float32", right=True),
    )
    render.show_table(render.Table(columns=columns, rows=tuple(_row(*one) for one in costs)))


def _row(name: str, cost: "Cost") -> tuple[str, ...]:
    shares = (cost.agreement, cost.accuracy, cost.accuracy_float32)
    return (name, f"{cost.relative_l2:.1e}", *("" if share is None else f"{share:.4f}" for share in shares))


def _processor(products: tuple[str, ...] | None) -> str:
    if products is None:
        return (
            "it is not known whether this processor has instructions for int8: kernels that do not saturate are taken"
        )
    if not products:
        return (
            "this processor has no instructions for int8 (VNNI, AMX): kernels that do not saturate are taken; they are "
            "slower, and float32 may be as fast"
        )
    return f"this processor multiplies int8 with {', '.join(products)}"
