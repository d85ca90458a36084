"""Every Python block in the documentation runs, in order, as a reader would run it."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

from hnexport.build import build
from hnexport.networks.wide_resnet.checkpoints import random_checkpoint
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.records import from_json
from hnexport.spec import HypernetSpec
from hnexport.spec.usage import Usage

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
WITH_CODE = [page for page in PAGES if "```python" in page.read_text()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the bundle of the documentation exists, over a smaller network."""
    folder = tmp_path_factory.mktemp("reader")
    spec = PipelineSpec(network=WideResNetSpec.from_name("wrn-10-1"), members=10)
    build(random_checkpoint(spec), folder / "bundles/wrn-28-10-hypernet-10")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_blocks_of_a_page_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for number, block in enumerate(blocks, start=1):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not os.path.exists(page.parent / link)]
    assert not missing


def test_the_json_in_the_format_guide_is_what_a_checkpoint_says() -> None:
    page = (ROOT / "docs/reference/checkpoint-format.md").read_text()
    usage, text = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(from_json(Usage, json.loads(usage)).class_names["logits"]) == 10
    hypernet = HypernetSpec(embedding_sizes=(10, 7, 14, 14, 14, 7, 7, 7))
    expected = PipelineSpec(network=WideResNetSpec.from_name("wrn-28-10"), members=10, hypernet=hypernet)
    assert from_json(PipelineSpec, json.loads(text)) == expected
