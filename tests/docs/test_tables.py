"""The tables of what is only checked have no entry that stands in no page any more, and say why."""

import re
from collections.abc import Sequence

import pytest
from page_tables import COMMANDS, LATER, PYTHON
from pages.blocks import ROOT
from typed_pages import all_blocks, all_commands, entry

BLOCKS = [(page, start) for page, entries in PYTHON.items() for start in entries]
NAMED = re.compile(r"\b(?:tests|docs)/[\w/.-]*\w")  # what runs such a command, in a reason
LINES = [(page, start) for page, entries in COMMANDS.items() for start in entries]


@pytest.mark.parametrize(("page", "start"), BLOCKS)
def test_every_block_that_is_not_run_exists_and_compiles(page: str, start: str) -> None:
    found = [
        block for block in all_blocks("python") if entry(PYTHON, block.page, block.code) == start and block.page == page
    ]
    assert found
    for block in found:
        compile(block.code, block.place, "exec")
    assert PYTHON[page][start]


@pytest.mark.parametrize(("page", "start"), LINES)
def test_every_command_that_is_not_run_exists(page: str, start: str) -> None:
    texts = [command.text for command in all_commands() if command.place.startswith(f"{page}:")]
    assert any(entry(COMMANDS, page, text) == start for text in texts)
    assert COMMANDS[page][start]


@pytest.mark.parametrize(("page", "start"), LINES)
def test_what_runs_a_command_that_is_not_run_has_its_name_and_options(page: str, start: str) -> None:
    reason = COMMANDS[page][start]
    for command in all_commands():
        if command.place.startswith(f"{page}:") and entry(COMMANDS, page, command.text) == start:
            assert not unnamed(command.text, reason), command.text


def unnamed(command: str, reason: str) -> Sequence[str]:
    """What of a command stands in none of the files that a reason names; "through Python" needs no options."""
    paths = [ROOT / name for name in NAMED.findall(reason)]
    gone = [path.relative_to(ROOT).as_posix() for path in paths if not path.exists()]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]) if file.is_file()]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    options = [] if "through Python" in reason else re.findall(r"(?<=\s)--[a-z][\w-]*", command)
    wanted = [command.split()[1], *options]
    return gone + [word for word in wanted if not re.search(rf"(?<![\w-]){word}(?![\w-])", text)]


def test_a_file_that_does_not_run_a_command_is_found() -> None:
    file = "tests/cli/test_locate.py"
    assert not unnamed("hnexport verify BUNDLE --replay x.json", f"needs a failure; {file}")
    assert unnamed("hnexport verify BUNDLE --replay x", "tests/machine/test_memory.py tests/cli/gone.py") == [
        "tests/cli/gone.py",
        *("verify", "--replay"),
    ]
    assert unnamed("hnexport verify BUNDLE --outputs x", file) == ["--outputs"]
    assert not unnamed("hnexport verify BUNDLE --outputs x", f"through Python, {file}")
    assert unnamed("hnexport verify BUNDLE", "the reader's own file") == ["verify"]


@pytest.mark.parametrize("start", LATER)
def test_every_command_that_takes_longer_exists(start: str) -> None:
    assert any(command.text.startswith(start) for command in all_commands())
