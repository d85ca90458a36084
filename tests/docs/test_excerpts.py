"""What a page shows of an example stands in the example, word for word."""

import re

import pytest
from excerpts import example_of
from pages.blocks import Block
from typed_pages import all_blocks

SHOWN = [block for block in all_blocks("python", "cpp", "js") if example_of(block) is not None]


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block.place)
def test_an_excerpt_stands_in_the_file_that_is_named_above_it(block: Block) -> None:
    example = example_of(block)
    assert example is not None
    text = re.sub(
        r"  # type: ignore\[[^]]*\]( # mypy.*)?$", "", example.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    text = re.sub(r"# type: ignore\[[^]]*\] #", "#", text)  # nothing for a reader
    assert block.code in text, f"{block.place} is no part of {example.name} any more"


@pytest.mark.parametrize("block", all_blocks("cpp"), ids=lambda block: block.place)
def test_every_block_in_cpp_is_a_part_of_an_example_that_is_compiled(block: Block) -> None:
    assert example_of(block) is not None
