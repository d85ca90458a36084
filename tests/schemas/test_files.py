"""The schemas that come with the package are those that the records give, and say what each field is."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from hnexport.cli.main import COMMANDS, cli
from hnexport.errors import SpecError
from hnexport.families import FAMILIES
from hnexport.schemas import names, schema

ROOT = Path(__file__).parents[2]
WITHOUT = {"serve": "the service describes what it answers in OpenAPI"}


def test_every_file_is_as_make_schemas_makes_it(tool: ModuleType) -> None:
    files = tool.made()
    changed = [str(path) for path, text in files.items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert (changed, tool.left_over(files)) == ([], [])


@pytest.mark.parametrize("name", names())
def test_a_schema_is_one_and_takes_its_example(name: str) -> None:
    found = schema(name)
    Draft202012Validator.check_schema(found)
    assert found["$id"].endswith(f"/reference/schemas/{name}.schema.json")
    for example in found["examples"]:
        Draft202012Validator(found).validate(example)


@pytest.mark.parametrize("name", names())
def test_every_record_and_every_field_is_described(name: str) -> None:
    found = schema(name)
    undescribed = [place for place, one in described_places(found) if not one.get("description")]
    assert undescribed == []


def described_places(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "$", found
    for name, one in {"$": found, **found.get("$defs", {})}.items():
        if name != "StepValue":
            yield name, one
        for choice in (one, *one.get("oneOf", ())):
            yield from ((f"{name}.{field}", inner) for field, inner in choice.get("properties", {}).items())


def test_no_schema_leans_on_another_file() -> None:
    for name in names():
        assert '"$ref": "#/$defs/' in (text := json.dumps(schema(name))) or '"$ref"' not in text


def test_every_family_has_its_specification() -> None:
    choices = schema("manifest")["$defs"]["EnsembleSource"]["oneOf"]
    assert {one["properties"]["family"]["const"] for one in choices} == set(FAMILIES)


def test_every_command_that_prints_json_has_a_schema() -> None:
    parents = {"verify": "parity", "deploy": "deploy-triton"}
    context = click.Context(cli)
    for command in COMMANDS:
        found = cli.get_command(context, command)
        options = [option for part in (found, *getattr(found, "commands", {}).values()) for option in part.params]
        if any("--json" in option.opts for option in options):
            assert parents.get(command, command) in names() or command in WITHOUT


def test_the_command_lists_them_and_prints_one() -> None:
    listed = CliRunner().invoke(cli, ["schema"])
    assert all(name in listed.output for name in names())
    assert json.loads(CliRunner().invoke(cli, ["schema", "parity"]).output) == schema("parity")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SpecError, match="there is no schema 'manifesto', only bench, build, "):
        schema("manifesto")


def test_undescribed_fields_and_stale_files_are_noticed(tool: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    assert [place for place, one in described_places({"description": "x", "properties": {"a": {}}}) if not one] == [
        "$.a"
    ]
    (tmp_path / tool.SCHEMAS).mkdir(parents=True)
    (tmp_path / tool.SCHEMAS / "old.schema.json").touch()
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    assert [path.name for path in tool.left_over({})] == ["old.schema.json"]
