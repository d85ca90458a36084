"""`hnexport doctor`: what can this machine run?"""

import sys

import click

from hnexport.cli.options import json_option

__all__ = ["doctor"]


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can run, what is missing, and the remedy.

    Exits with 0, or 1 if something contradicts itself (say, two onnxruntime wheels). What is only missing is no fault.
    """
    from rich.table import Table

    from hnexport.cli.render import print_json, print_table
    from hnexport.doctor import diagnose
    from hnexport.records import to_json

    diagnosis = diagnose()
    if as_json:
        print_json({"sound": diagnosis.sound, **to_json(diagnosis)})
    else:
        click.echo(diagnosis.machine)
        table = Table()
        for column in ("", "state", "what was found", "remedy"):
            table.add_column(column)
        colours = {"works": "green", "missing": "yellow", "wrong": "bold red"}
        for finding in diagnosis.findings:
            state = f"[{colours[finding.state.value]}]{finding.state.value}[/]"
            table.add_row(finding.what, state, finding.detail, finding.remedy)
        print_table(table)
    sys.exit(0 if diagnosis.sound else 1)
