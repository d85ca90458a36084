"""The tables of what is only checked have no entry that stands in no page any more, and say why."""

import pytest
from page_tables import COMMANDS, LATER, PYTHON
from typed_pages import all_blocks, all_commands, entry

BLOCKS = [(page, start) for page, entries in PYTHON.items() for start in entries]
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


@pytest.mark.parametrize("start", LATER)
def test_every_command_that_takes_longer_exists(start: str) -> None:
    assert any(command.text.startswith(start) for command in all_commands())
