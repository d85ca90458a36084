"""`hnexport doctor`: what can this machine run?"""

import sys

import click

from hnexport.cli import exit_codes
from hnexport.cli.options import json_option

__all__ = ["doctor"]

COLOURS = {"works": "green", "missing": "yellow", "wrong": "bold red"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can run, what is missing, and the remedy.

    Exits with 0, or 2 if something contradicts itself (say, two onnxruntime wheels). What is only missing is no fault.
    """
    from hnexport.cli import render
    from hnexport.doctor import diagnose
    from hnexport.records import to_json

    diagnosis = diagnose()
    if as_json:
        render.print_json({"sound": diagnosis.sound, **to_json(diagnosis)})
    else:
        render.say(diagnosis.machine)
        columns = (
            render.Column("", wrap=True),
            render.Column("state"),
            render.Column("what was found", wrap=True, least=14),
            render.Column("remedy", wrap=True, least=14),
        )
        rows = [
            (
                finding.what,
                render.Styled(finding.state.value, COLOURS[finding.state.value]),
                finding.detail,
                finding.remedy,
            )
            for finding in diagnosis.findings
        ]
        render.show_table(render.Table(columns=columns, rows=rows))
    sys.exit(exit_codes.YES if diagnosis.sound else exit_codes.UNANSWERED)
