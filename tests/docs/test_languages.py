"""Every block says its language, and for every language a test does something."""

from pathlib import Path

import pytest
from page_tables import LANGUAGES
from pages.blocks import blocks, pages
from typed_pages import name


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_block_says_its_language(page: Path) -> None:
    unknown = [
        f"{block.place}: {block.language or 'none'}" for block in blocks(page) if block.language not in LANGUAGES
    ]
    assert not unknown, f"of {', '.join(LANGUAGES)}"
