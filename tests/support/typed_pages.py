"""What the tests of the pages have in common: blocks and commands by page, and what the tables say of them."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from excerpts import example_of
from page_tables import COMMANDS, LATER, PYTHON
from pages.blocks import ROOT, Block, blocks, pages
from pages.commands import Command, commands

EVERYTHING = os.environ.get("HNEXPORT_DOCS") == "1"
TUTORIALS = tuple(sorted((ROOT / "docs/tutorials").glob("*.md")))


def name(page: Path) -> str:
    """A page by its path in the repository."""
    return page.relative_to(ROOT).as_posix()


def all_blocks(*languages: str) -> tuple[Block, ...]:
    """The blocks of every page, of some languages."""
    return tuple(block for page in pages() for block in blocks(page) if block.language in languages)


def all_commands() -> tuple[Command, ...]:
    """The commands of every page."""
    return tuple(command for block in all_blocks("sh") for command in commands(block))


def entry(table: Mapping[str, Mapping[str, str]], page: str, text: str) -> str | None:
    """The entry of a table that is about a block or command, if there is one."""
    return next((start for start in table.get(page, {}) if text.startswith(start)), None)


def runs(block: Block) -> bool:
    """Whether a Python block is run."""
    return example_of(block) is None and entry(PYTHON, block.page, block.code) is None


def run_commands(block: Block) -> Iterator[Command]:
    """The commands of a block that are run: those of hnexport, but for what a table names."""
    for command in commands(block) if block.language == "sh" else ():
        later = command.text.startswith(LATER) and not EVERYTHING
        if command.program == "hnexport" and not later and entry(COMMANDS, block.page, command.text) is None:
            yield command
