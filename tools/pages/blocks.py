"""The code blocks of a page, in order, as CommonMark has them."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
_ELSEWHERE = {"node_modules", "build", "dist"}  # what installs and builds write


@dataclass(frozen=True, kw_only=True)
class Block:
    """A code block.

    Attributes:
        page: relative to the repository's root.
        line: of its first line of code, from 1.
        language: the first word behind the fence; empty for an indented block.
        times: whether `times` stands behind it: numbers that another machine does not repeat.
    """

    page: str
    line: int
    language: str
    code: str
    times: bool = False

    @property
    def place(self) -> str:
        """As a compiler says it: `docs/start.md:12`."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A block that a reader types, and the `text` block behind it, which shows what it prints."""

    block: Block
    shown: Block | None


@functools.cache
def pages() -> tuple[Path, ...]:
    """Every page of this repository that a reader may type from, in the order of their names."""
    folders = ("docs", "examples", "tests", "tools", ".github")
    found = {*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))}
    return tuple(sorted(page for page in found if not _ELSEWHERE & set(page.relative_to(ROOT).parts)))


@functools.cache
def blocks(page: Path) -> tuple[Block, ...]:
    """The code blocks of a page, fenced and indented ones, also those inside lists."""
    return tuple(_blocks(page))


def steps(page: Path) -> tuple[Step, ...]:
    """What a reader of a tutorial types: `python` and `sh` blocks, each with the `text` block that follows.

    Not `pip install …`: the environment in which the rest is typed stands for it.

    Raises:
        ValueError: a `text` block follows nothing that prints.
    """
    found: list[Step] = []
    for block in blocks(page):
        if block.language == "sh" and all(line.startswith("pip install ") for line in block.code.splitlines()):
            continue
        if block.language in ("python", "sh"):
            found.append(Step(block=block, shown=None))
        elif block.language == "text":
            if not found or found[-1].shown is not None:
                raise ValueError(f"{block.place}: this output belongs to no block")
            found[-1] = Step(block=found[-1].block, shown=block)
    return tuple(found)


def _blocks(page: Path) -> Iterator[Block]:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block") and not token.info.startswith("{"):  # {toctree}: for Sphinx
            assert token.map is not None
            first = token.map[0] + (2 if token.type == "fence" else 1)
            language, *more = token.info.split() or [""]
            place = page.relative_to(ROOT).as_posix()
            yield Block(page=place, line=first, language=language, code=token.content, times="times" in more)
