"""What pages for users import is public: the API reference shows it, so that it may not change at any time."""

import ast
import importlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages.blocks import ROOT, blocks, pages
from typed_pages import name

API = ROOT / "docs/reference/api"
SHOWN = re.compile(r"^\.\. auto\w+:: (hnexport\.\S+)$", re.MULTILINE)
FOR_CONTRIBUTORS = ("docs/contributing", "tests", "tools", ".github")


def _public() -> set[str]:
    """Names in `__all__` of the modules that have a page, and what those pages show of others."""
    modules = {page.stem for page in API.glob("hnexport*.md")}
    offered = {f"{module}.{one}" for module in modules for one in importlib.import_module(module).__all__}
    return modules | offered | {one for page in API.glob("*.md") for one in SHOWN.findall(page.read_text())}


PUBLIC = _public()
FOR_USERS = [page for page in pages() if not name(page).startswith(FOR_CONTRIBUTORS)]


def _imported(page: Path) -> Iterator[tuple[str, str]]:
    for block in blocks(page):
        if block.language == "python":
            for node in ast.walk(ast.parse(textwrap.dedent(block.code))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hnexport":
                    yield from ((block.place, f"{node.module}.{one.name}") for one in node.names)


@pytest.mark.parametrize("page", FOR_USERS, ids=name)
def test_what_a_page_imports_is_in_the_api_reference(page: Path) -> None:
    assert not [(place, found) for place, found in _imported(page) if found not in PUBLIC]


def test_pages_do_import_something() -> None:
    assert "hnexport.runtime.load" in {found for page in FOR_USERS for _, found in _imported(page)}
