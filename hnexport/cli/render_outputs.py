"""What `verify` and `build` say of the outputs of a network that has several."""

from typing import TYPE_CHECKING

from hnexport.cli.render import Column, Styled, Table, show_table

if TYPE_CHECKING:
    from hnexport.parity.results import ParityReport

__all__ = ["print_outputs"]


def print_outputs(report: "ParityReport", *, wide: bool = False) -> None:
    """A row for each artifact and output, where the network has several outputs."""
    rows = []
    for artifact in report.artifacts:
        found = [(item.member, output) for item in artifact.comparisons for output in item.outputs]
        names = dict.fromkeys(output.output for _, output in found)
        if len(names) < 2:
            continue
        for name in names:
            own = [(member, output) for member, output in found if output.output == name]
            member, worst = max(own, key=lambda pair: pair[1].relative_l2)
            passed = all(output.passed for _, output in own)
            agreement = min((one.top1_agreement for _, one in own if one.top1_agreement is not None), default=None)
            rows.append(
                (
                    artifact.artifact,
                    name,
                    f"{worst.relative_l2:.1e}",
                    str(member),
                    f"{max(output.multiple_of_eager for _, output in own):.2f}",
                    f"{max(output.worst_absolute for _, output in own):.1e}",
                    "-" if agreement is None else f"{agreement:.0%}",
                    Styled("same", "green") if passed else Styled("DIFFERENT", "bold red"),
                )
            )
    if not rows:
        return
    columns = (
        Column("artifact", wrap=True, least=20),
        Column("output", wrap=True),
        Column("rel. L2", right=True),
        Column("worst\nmember", right=True, rank=2),
        Column("x eager", right=True, rank=1),
        Column("worst\n|Δ|", right=True, rank=3),
        Column("top-1", right=True, rank=4),
        Column("verdict"),
    )
    show_table(Table(title="by output", columns=columns, rows=rows), wide=wide)
