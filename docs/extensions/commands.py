"""The commands' options for sphinx-click, in the words that `--help` has for them."""

import inspect
import re
from typing import Any

import click
from docstrings import as_rst
from sphinx.application import Sphinx

_FLAG = re.compile(r"(?<![\w`-])--?[a-z][\w-]*(?![^`\n]*`(?:[^`\n]*`[^`\n]*`)*[^`\n]*$)", re.MULTILINE)


def _rst(text: str) -> list[str]:
    """Help in reStructuredText; flags are code there too."""
    return as_rst(_FLAG.sub(r"`\g<0>`", text).split("\n"))


def _describe(app: Sphinx, ctx: click.Context, lines: list[str]) -> None:
    text = inspect.cleandoc(ctx.command.help or "").replace("\f", "").replace("\b\n", "")
    lines[:] = [*_rst(text), ""]


def _options(app: Sphinx, ctx: click.Context, lines: list[str]) -> None:
    """`.. option:: -f, --flag NAME`, and the help text."""
    lines.clear()
    for parameter in ctx.command.params:
        record = parameter.get_help_record(ctx)
        if not isinstance(parameter, click.Option) or record is None:
            continue
        spelling, text = record
        lines += [f".. option:: {spelling.replace(' / ', ', ')}", ""]
        lines += [f"   {line}" for line in _rst(text)]
        lines.append("")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-description", _describe)
    app.connect("sphinx-click-process-options", _options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
