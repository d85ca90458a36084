"""The command group: loads a command only when it is asked for, and turns errors into messages and exit codes.

Exit codes: 0 yes, 1 no (a mismatch), 2 the question could not be answered (bad usage, damaged bundle, no provider).
"""

import importlib
import logging
import signal
import sys
from types import FrameType
from typing import Any

import click

from hnexport import __version__
from hnexport.errors import HnexportError

__all__ = ["cli", "main"]

COMMANDS = {
    "bench": "Time a bundle beside the plain network and beside PyTorch.",
    "build": "Build a verified bundle: one graph (cond_id, image) -> logits in every format.",
    "convert": "Convert a hypnettorch ensemble to a native checkpoint.",
    "doctor": "Say what this machine can run, what is missing, and the remedy.",
    "golden": "Write the golden inputs as plain files, for runtimes that Python cannot reach.",
    "inspect": "Show a bundle's signature, weight counts and files.",
    "locate": "Name the first place where an artifact departs from PyTorch in float64.",
    "tune": "Fold a bundle's graph for this machine: many members at nearly a plain network's speed.",
    "verify": "Compare every artifact of a bundle with PyTorch in float64, member by member.",
    "predict": "Class probabilities of images, member by member, and how much the members disagree.",
}


class _LazyGroup(click.Group):
    """Imports `hnexport.cli.<command>` when the command runs, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hnexport.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HnexportError as error:
            raise _CouldNotAnswer(str(error)) from error


class _CouldNotAnswer(click.ClickException):
    exit_code = 2


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hnexport")
@click.option("-v", "--verbose", is_flag=True, help="Log what the library does.")
def cli(verbose: bool) -> None:
    """Export hypernetwork ensembles: build, verify and run one graph (cond_id, image) -> logits."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")
    for noisy in ("torch", "torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def main() -> None:
    """Entry point of the `hnexport` command."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(cli(standalone_mode=True))


def _terminate(signum: int, frame: FrameType | None) -> None:
    """Leave through the context managers, which remove what is half written."""
    raise SystemExit(128 + signum)
