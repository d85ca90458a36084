"""What `locate` found, on the terminal."""

import math

import click
from rich.table import Table

from hnexport.cli.render import print_table
from hnexport.parity.locate import LocateReport

__all__ = ["print_locate"]


def print_locate(report: LocateReport, *, show_all: bool) -> None:
    """One line with the answer, and a table of the comparisons that depart (or of all)."""
    shown = [step for step in report.steps if show_all or not step.passed]
    if shown:
        table = Table(title=f"{report.against} against PyTorch float64, member {report.member}", title_justify="left")
        for column in ("compared", "place", "what"):
            table.add_column(column)
        table.add_column("error", justify="right")
        table.add_column("")
        for step in shown:
            error = "" if math.isnan(step.error) else f"{step.error:.1e}"
            table.add_row(
                step.kind.value, step.place, step.detail, error, "same" if step.passed else "[bold red]DEPARTS[/]"
            )
        print_table(table)
    if report.first is None:
        click.echo(f"{report.against}: nothing departs, {len(report.steps)} comparisons")
        return
    reason = f": {report.first.detail}" if report.first.detail else ""
    click.echo(f"first departure, in {report.stage}: {report.first.kind.value} {report.first.place}{reason}")
