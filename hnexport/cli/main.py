"""The command group: loads a command only when it is asked for. `main` is the whole of a command's life.

`hnexport.cli.exit_codes` says what the exit codes mean, `hnexport.cli.faults` turns errors into them,
`hnexport.cli.signals` does that for signals, and `hnexport.cli.output` for what cannot be printed.
"""

import functools
import importlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from hnexport import __version__
from hnexport.cli import faults, output, signals
from hnexport.errors import HnexportError
from hnexport.installed import COMPLETE, missing_for_building, require_complete
from hnexport.spelling import in_command

__all__ = ["cli", "main"]

COMMANDS = {
    "bench": "Time a bundle beside the plain network and beside PyTorch.",
    "build": "Build a verified bundle: one graph (cond_id, image) -> logits in every format.",
    "card": "Write a bundle's model card, README.md: what it is, how to load it, parity, evaluation.",
    "convert": "Convert a hypnettorch or late-phase ensemble to a native checkpoint.",
    "deploy": "Put a bundle where people use it: a web page, a server.",
    "doctor": "Say what this machine can run, what is missing, and the remedy.",
    "evaluate": "Accuracy, calibration and uncertainty on data, of each member and of the ensemble.",
    "golden": "Write the golden inputs as plain files, for runtimes that Python cannot reach.",
    "inspect": "Show a bundle's signature, weight counts and files, or what a checkpoint is.",
    "locate": "Name the first place where an artifact departs from PyTorch in float64.",
    "member": "Write a member as a plain network, in one file: no condition id, weights inside.",
    "recalibrate": "Estimate batch-norm statistics for each member of a checkpoint from images.",
    "schema": "Print the JSON Schema of a manifest, a report, or of what a command prints.",
    "serve": "Serve a bundle over HTTP: the Open Inference Protocol (v2), plain JSON, metrics.",
    "tune": "Fold a bundle's graph for this machine: many members at nearly a plain network's speed.",
    "verify": "Compare every artifact of a bundle with PyTorch in float64, member by member.",
    "predict": "Class probabilities of images, member by member, and how much the members disagree.",
}

_ALONE = ("card", "deploy", "doctor", "evaluate", "golden", "inspect", "predict", "schema", "serve")
"""Commands that need nothing but hnexport-runtime."""
_NEEDS = f" [needs {COMPLETE}]"


class _LazyGroup(click.Group):
    """Imports `hnexport.cli.<command>` when the command runs, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hnexport.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            _through_output(one.get_help_option(ctx))
        if cmd_name not in _ALONE and command.callback is not None:
            command.callback = _needing_everything(cmd_name, command.callback)
        return command

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return _through_output(super().get_help_option(ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            missing = missing_for_building()
            formatter.write_dl(
                [(name, text + _NEEDS * bool(missing and name not in _ALONE)) for name, text in COMMANDS.items()]
            )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with in_command():
                return super().invoke(ctx)
        except HnexportError as error:
            raise faults.told(error) from error


def _needing_everything(name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    """The body of a command, with a sentence in its place where hnexport-runtime is alone."""

    @functools.wraps(callback)
    def checked(*arguments: Any, **options: Any) -> Any:
        require_complete(f"`hnexport {name}`")
        return callback(*arguments, **options)

    return checked


def _through_output(option: click.Option | None) -> click.Option | None:
    if option is not None:
        option.callback = _show_help
    return option


def _show_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        _answer(ctx, ctx.get_help())


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        _answer(ctx, f"hnexport, version {__version__}")


def _answer(ctx: click.Context, text: str) -> None:
    for line in text.split("\n"):
        output.say(line, wrap=False)
    ctx.exit()


class _LogLines(logging.Handler):
    """Log lines on standard error, clean; a traceback only with `-v`."""

    def emit(self, record: logging.LogRecord) -> None:
        if not faults.verbose():
            record.exc_info = record.exc_text = record.stack_info = None
        output.tell(self.format(record))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.option("-v", "--verbose", is_flag=True, help="Log what the library does, and show the traceback of a fault.")
def cli(verbose: bool) -> None:
    """Export hypernetwork ensembles: build, verify and run one graph (cond_id, image) -> logits."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s", handlers=[_LogLines()])
    for noisy in ("torch", "torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def main() -> None:
    """Entry point of the `hnexport` command."""
    if "_HNEXPORT_COMPLETE" in os.environ:  # a shell that asks for completions
        cli.main(prog_name="hnexport")
    output.prepare()
    signals.install(verbose=faults.verbose)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    code = output.finish(faults.exit_code(_run))
    sys.exit(code)


def _run() -> None:
    with cli.make_context("hnexport", sys.argv[1:]) as context:
        cli.invoke(context)
