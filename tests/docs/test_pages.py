"""Every page is typed as a reader would: its Python in one session, its commands of hnexport, in one folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pages.blocks import ROOT, blocks, pages
from thorough import only
from typed_pages import TUTORIALS, name, run_commands, runs

SMALLER = ["--network", "wrn-10-1", "--formats", "onnx", "--force"]
PAGES = [
    page
    for page in pages()
    if page not in TUTORIALS
    and any(
        (block.language == "python" and runs(block)) or any(run_commands(block))
        for block in blocks(page)
        if block.language in ("python", "sh")
    )
]
IN_EVERY_RUN = [page for page in PAGES if page in (ROOT / "README.md", ROOT / "docs/start.md")]


@pytest.mark.parametrize("page", only(PAGES, *IN_EVERY_RUN), ids=name)
def test_a_page_can_be_typed(
    page: Path, reader: Path, shell: Callable[[tuple[str, ...]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reader)
    if page.parent.parent == ROOT / "examples":  # its reader is in its folder
        for file in page.parent.iterdir():
            if file.is_file():
                shutil.copy(file, reader)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in blocks(page):
            if block.language == "python" and runs(block):
                exec(compile(block.code, block.place, "exec"), names)
            for command in run_commands(block) if block.language == "sh" else ():
                printed = shell(smaller(command.words[1:]))
                if command.out is not None:
                    (reader / command.out).write_text(printed)


def smaller(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What a page says of WRN-28-10 with random weights, of a smaller network."""
    random = arguments[0] == "build" and "--members" in arguments and not {"--from", "--network"} & set(arguments)
    return (*arguments, *SMALLER) if random else arguments
