"""What the tests of the pages stand on: blocks, commands, and what differs in kind."""

from pathlib import Path

import pytest
from pages.blocks import ROOT, Block, blocks, pages, steps
from pages.commands import commands
from pages.compared import differences

PAGE = """# A page

    indented

- in a list

  ```sh
  hnexport inspect \\
      BUNDLE > out.json  # all of it
  ls | head -n 1
  ```

```text
what it prints
```

```{toctree}
page
```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pages.blocks.ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_blocks_are_found_with_their_lines_and_languages(page: Path) -> None:
    assert [(block.language, block.line) for block in blocks(page)] == [("", 3), ("sh", 8), ("text", 14)]


def test_an_output_belongs_to_the_block_before_it(page: Path) -> None:
    (step,) = steps(page)
    assert step.shown is not None
    assert step.shown.code == "what it prints\n"


def test_commands_go_on_over_lines_and_lose_comments_and_pipes(page: Path) -> None:
    first, second = commands(blocks(page)[1])
    assert (first.words, first.out, first.place) == (("hnexport", "inspect", "BUNDLE"), "out.json", "page.md:9")
    assert second.words == ("ls",)


def test_an_output_without_a_block_is_refused(page: Path) -> None:
    page.write_text("```text\nnothing\n```\n", encoding="utf-8")
    blocks.cache_clear()
    with pytest.raises(ValueError, match=r"page\.md:2"):
        steps(page)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("accuracy 0.992", "accuracy 0.988"),
        ("error 4.4e-07", "error 9.1e-08"),
        ("took 31 s", "took 300 s"),
        ("digest sha256:1234567890abcdef", "digest sha256:fedcba0987654321"),
        ("torch 2.13.0", "torch 2.14.1"),
        ("a   1", "a 1\n\n"),
        ("37,544,732 weights", "37,544,732 weights"),
        ("┏━━━━━━┳━━━┓", "┏━━━━━┳━━━━━┓"),
    ],
)
def test_what_another_machine_prints_is_of_the_same_kind(shown: str, printed: str) -> None:
    assert not differences(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("accuracy 0.992", "accuracy 0.792"),
        ("error 4.4e-07", "error 4.4e-03"),
        ("same", "different"),
        ("one line", "one line\nand another"),
        ("37,544,732 weights", "17,544,732 weights"),
        ("logits nan", "logits 0.1"),
        ("┏━━━━━━┳━━━┓", "┏━━━━━━┓"),
    ],
)
def test_what_differs_in_kind_is_found(shown: str, printed: str) -> None:
    assert differences(shown, printed)


def test_of_times_only_the_words_are_compared() -> None:
    assert not differences("plain 0.8 1.00x", "plain 3.9 1.70x", times=True)
    assert differences("plain 0.8", "int8 0.8", times=True)


def test_lines_that_differ_are_shown_both() -> None:
    assert differences("a 1\nsame", "a 1\ndifferent\nmore") == ["- same", "+ different", "- ", "+ more"]


def test_the_pages_of_this_repository_are_found() -> None:
    assert ROOT / "README.md" in pages()
    assert isinstance(blocks(ROOT / "README.md")[0], Block)
