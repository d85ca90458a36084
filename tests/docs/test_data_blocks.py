"""Blocks of data are read, and are what they show; scripts in other languages can be parsed."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from pages.blocks import Block
from typed_pages import all_blocks

from hnexport import ModuleRecipe
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.records import from_json
from hnexport.spec import HypernetSpec
from hnexport.spec.usage import Usage


def blocks_of(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", all_blocks(language), ids=lambda block: block.place)


def value(block: Block) -> dict[str, object]:
    """What a block says; one that begins with a key is a part of an object."""
    found = json.loads(block.code if block.code.lstrip().startswith(("{", "[")) else f"{{{block.code}}}")
    assert isinstance(found, dict)
    return found


@blocks_of("json")
def test_json_can_be_read(block: Block) -> None:
    assert value(block)


def test_the_json_in_the_format_guide_is_what_a_checkpoint_says() -> None:
    usage, spec = (value(block) for block in all_blocks("json") if block.page == "docs/reference/checkpoint-format.md")
    assert len(from_json(Usage, usage).class_names["logits"]) == 10
    hypernet = HypernetSpec(embedding_sizes=(10, 7, 14, 14, 14, 7, 7, 7))
    expected = PipelineSpec(network=WideResNetSpec.from_name("wrn-28-10"), members=10, hypernet=hypernet)
    assert from_json(PipelineSpec, spec) == expected


def test_a_manifest_may_say_what_the_page_of_the_runtimes_shows() -> None:
    (block,) = [block for block in all_blocks("json") if block.page == "docs/runtimes/pictures.md"]
    assert from_json(Usage, value(block)["usage"]).normalisation is not None


@blocks_of("toml")
def test_toml_is_a_recipe(block: Block) -> None:
    assert from_json(ModuleRecipe, tomllib.loads(block.code)).rules


@blocks_of("yaml")
def test_yaml_can_be_read(block: Block) -> None:
    assert list(yaml.safe_load_all(block.code))


@blocks_of("js")
def test_node_can_parse_a_script(block: Block, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:  # `make runtimes-test` brings one
        return
    script = tmp_path / ("script.cjs" if "require(" in block.code else "script.mjs")
    script.write_text(block.code)
    checked = subprocess.run([node, "--check", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
