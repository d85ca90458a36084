"""Blocks of pages that are parts of an example: `make runtimes` and tests run the file, so the page need not."""

import re
from functools import cache
from pathlib import Path

from pages.blocks import ROOT, Block

_LINK = re.compile(r"\]\(((?:\.\./)*examples/[^)#]+)\)")


@cache
def _lines(page: str) -> tuple[str, ...]:
    return tuple((ROOT / page).read_text(encoding="utf-8").splitlines())


def example_of(block: Block) -> Path | None:
    """The file that the paragraph above a block names last, if it ends with a colon and names one of `examples/`."""
    above = _lines(block.page)[: block.line - 2]  # without the fence
    while above and not above[-1].strip():
        above = above[:-1]
    paragraph: list[str] = []
    for line in reversed(above):
        if not line.strip() or line.startswith(("```", "|")):
            break
        paragraph.insert(0, line)
    text = "\n".join(paragraph)
    named = _LINK.findall(text) if text.endswith(":") else []
    files = [file for one in named if (file := ((ROOT / block.page).parent / one).resolve()).is_file()]
    return files[-1] if files and files[-1].suffix != ".md" else None
