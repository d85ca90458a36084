"""Blocks of data are read, and are what they show; scripts in other languages can be parsed."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pages.blocks import Block
from typed_pages import all_blocks

from hnexport import ModuleRecipe
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.records import from_json
from hnexport.spec import HypernetSpec
from hnexport.spec.usage import Usage


def place(block: Block) -> str:
    return block.place


def value(block: Block) -> Any:
    """What a block says; one that begins with a key is a part of an object."""
    return json.loads(block.code if block.code.lstrip().startswith(("{", "[")) else f"{{{block.code}}}")


@pytest.mark.parametrize("block", all_blocks("json"), ids=place)
def test_json_can_be_read(block: Block) -> None:
    assert value(block)


def test_the_json_in_the_format_guide_is_what_a_checkpoint_says() -> None:
    usage, spec = (value(block) for block in all_blocks("json") if block.page == "docs/reference/checkpoint-format.md")
    assert len(from_json(Usage, usage).class_names["logits"]) == 10
    hypernet = HypernetSpec(embedding_sizes=(10, 7, 14, 14, 14, 7, 7, 7))
    expected = PipelineSpec(network=WideResNetSpec.from_name("wrn-28-10"), members=10, hypernet=hypernet)
    assert from_json(PipelineSpec, spec) == expected


def test_a_manifest_may_say_the_usage_that_pages_show() -> None:
    shown = [value(block) for block in all_blocks("json") if block.code.startswith('"usage"')]
    assert shown
    assert all(from_json(Usage, part["usage"]).normalisation for part in shown)


@pytest.mark.parametrize("block", all_blocks("toml"), ids=place)
def test_toml_is_a_recipe(block: Block) -> None:
    assert from_json(ModuleRecipe, tomllib.loads(block.code)).rules


def test_node_can_parse_scripts(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:  # `make runtimes-test` brings one
        return
    found = all_blocks("js")
    assert found
    for block in found:
        script = tmp_path / ("script.cjs" if "require(" in block.code else "script.mjs")
        script.write_text(block.code)
        checked = subprocess.run([node, "--check", script], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{block.place}: {checked.stderr}"
