"""The guides' Python code runs, from top to bottom, as a reader would run it."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("guide", ["hypnettorch.md", "checkpoint-format.md"])
def test_the_code_in_a_guide_runs(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / guide).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in blocks:
            exec(compile(block, guide, "exec"), names)
    assert (tmp_path / "ensemble.safetensors").is_file()


def test_the_specification_in_the_format_guide_is_a_specification() -> None:
    import json

    from hnexport.records import from_json
    from hnexport.spec import HypernetSpec, PipelineSpec, WideResNetSpec

    (text,) = re.findall(r"^```json\n(.*?)^```$", (DOCS / "checkpoint-format.md").read_text(), re.MULTILINE | re.DOTALL)
    sizes = (10, 7, 14, 14, 14, 7, 7, 7)
    network = WideResNetSpec.from_name("wrn-28-10")
    expected = PipelineSpec(network=network, members=10, hypernet=HypernetSpec(embedding_sizes=sizes))
    assert from_json(PipelineSpec, json.loads(text)) == expected
