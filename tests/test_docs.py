"""Every Python block in the documentation runs, in order, as a reader would run it."""

import os
import re
from pathlib import Path

import pytest

from hnexport.build import build
from hnexport.hypernet.initialise import initialise
from hnexport.spec import PipelineSpec, WideResNetSpec

ROOT = Path(__file__).parent.parent
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if "```python" in page.read_text()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the bundle of the documentation exists, over a smaller network."""
    folder = tmp_path_factory.mktemp("reader")
    spec = PipelineSpec(network=WideResNetSpec.from_name("wrn-10-1"), members=10)
    build(spec, initialise(spec, 0), folder / "bundles/wrn-28-10-hypernet-10", origin="seed 0")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not os.path.exists(page.parent / link)]
    assert not missing
