"""The commands of a `sh` block, one by one, as a shell splits them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from pages.blocks import Block

_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command with its words.

    Attributes:
        text: as it stands in the page, on one line, without its comment.
        words: the program and its arguments.
        out: the file that `>` writes.
        place: `page:line`.
    """

    text: str
    words: tuple[str, ...]
    out: str | None
    place: str

    @property
    def program(self) -> str:
        """The first word that sets no variable."""
        return next(word for word in self.words if not _ASSIGNMENT.match(word))


def commands(block: Block) -> tuple[Command, ...]:
    """Every command of a block; lines that end with a backslash go on.

    Raises:
        ValueError: no shell could read it.
    """
    return tuple(_commands(block))


def _commands(block: Block) -> Iterator[Command]:
    kept = ""
    for number, line in enumerate(block.code.splitlines()):
        if line.endswith("\\"):
            kept += line[:-1]
            continue
        whole, kept = kept + line, ""
        words = shlex.split(whole, comments=True)
        if not words:
            continue
        before, _, _ = _uncommented(whole).partition(" | ")
        words = shlex.split(before)
        out = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if ">" in words else words
        text = " ".join(_uncommented(whole).split())
        yield Command(text=text, words=tuple(words), out=out, place=f"{block.page}:{block.line + number}")


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)#\s.*$", "", line)
