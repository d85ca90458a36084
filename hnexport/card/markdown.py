"""Text of strangers in Markdown: it stays what it is, and neither links nor HTML nor cells of a table come of it."""

import json
import re
from collections.abc import Iterable, Sequence

from hnexport.text import clean

__all__ = ["code", "fenced", "literal", "prose", "table"]

_ENTITIES = {character: f"&#{ord(character)};" for character in "\\|<>&"}
_MARKUP = re.compile(
    r"[`*_\[\]~$@#!]|:(?=\S)|(?<=www)\.", re.IGNORECASE
)  # and what becomes a link, an emoji, a mention
_PLAIN = re.compile(r"[^\\`|\s](?:[^\\`|]*[^\\`|\s])?")


def prose(text: str) -> str:
    """A text as part of a sentence."""
    marked = "".join(_ENTITIES.get(character, character) for character in clean(text))
    return _MARKUP.sub(lambda found: _entity_or_escape(marked, found), marked)


def _entity_or_escape(text: str, found: "re.Match[str]") -> str:
    in_entity = found[0] == "#" and text[found.start() - 1 : found.start()] == "&"
    return found[0] if in_entity else f"\\{found[0]}"


def code(text: str) -> str:
    """A name in code's letters, also in a cell of a table."""
    cleaned = clean(text)
    if _PLAIN.fullmatch(cleaned):
        return f"`{cleaned}`"
    spelled = "".join(one if one.isalnum() or one == " " else f"&#{ord(one)};" for one in cleaned)
    return f"<code>{spelled}</code>"


def literal(text: str) -> str:
    """A text as Python's literal, in ASCII."""
    return json.dumps(text) if text.isascii() else ascii(text)


def fenced(language: str, lines: Iterable[str]) -> str:
    """A block of code. No line of it can end the block: names stand in it as quoted literals, inside their line."""
    return "\n".join((f"```{language}", *lines, "```"))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
