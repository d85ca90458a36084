"""Markdown pages about schemas: a table of the fields for each record."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.documents import DOCUMENTS, Document, example
from schemas.records import Schema
from schemas.rules import SINCE

__all__ = ["index_rows", "page_of"]

_LONGEST_EXAMPLE = 80  # lines
_FILES = "../../../hnexport/schemas"


def index_rows() -> str:
    """The table of all schemas, and their pages in the table of contents."""
    rows = [
        f"| [{document.title}]({name}.md) | [`{name}`]({_FILES}/{name}.schema.json) | {_cell(document.text)} |"
        for name, document in DOCUMENTS.items()
    ]
    contents = ["", "```{toctree}", ":hidden:", "", *DOCUMENTS, "```"]
    return "\n".join(["| what | schema | where it is found |", "| --- | --- | --- |", *rows, *contents])


def page_of(name: str, schema: Schema) -> str:
    """The page about one schema."""
    return "\n\n".join(_parts(name, schema)) + "\n"


def _parts(name: str, schema: Schema) -> Iterator[str]:
    document = DOCUMENTS[name]
    yield f"# {document.title}"
    yield "<!-- made by `make schemas` from docstrings and tools/schemas: change these -->"
    yield document.text
    yield (
        f"Since hnexport {document.since}. The schema is [{name}.schema.json]({_FILES}/{name}.schema.json); "
        f'`hnexport.schemas.schema("{name}")` has it, [and so on](index.md).'
    )
    yield from _body(schema, document, _kind(name))
    for definition, found in schema.get("$defs", {}).items():
        yield f"## {definition}"
        if found.get("description"):
            yield str(found["description"])
        yield from _body(found, document, definition)
    text = json.dumps(example(name), indent=2, ensure_ascii=False)
    if text.count("\n") < _LONGEST_EXAMPLE:
        yield "## Example"
        yield f"```json\n{text}\n```"


def _kind(name: str) -> str:
    """By which name `SINCE` knows the fields of a whole document."""
    return {"manifest": "Manifest", "parity": "ParityReport", "golden-metadata": "GoldenDescription"}.get(name, name)


def _body(schema: Schema, document: Document, kind: str) -> Iterator[str]:
    if "properties" in schema:
        yield _table(schema, document, kind)
    elif "enum" in schema:
        yield f"One of {_values(schema['enum'])}."
    for choice in schema.get("oneOf", ()):
        title = choice.get("title")
        if title and "properties" in choice:
            yield f"**{title}**:"
            yield _table(choice, document, kind)
        elif title:
            yield f"**{title}**: {_type(choice)}"
    for choice in schema.get("anyOf", ()):
        yield f"- {_type(choice)}"


def _table(schema: Schema, document: Document, kind: str) -> str:
    required, rows = set(schema["required"]) if "required" in schema else set(), []
    dated = document.since != "0.2" and any(f"{kind}.{name}" in SINCE for name in schema["properties"])
    for name, found in schema["properties"].items():
        meaning = _cell(found.get("description", ""))
        if name not in required:
            meaning = f"{meaning} {_if_missing(found)}".strip()
        since = f" | {SINCE.get(f'{kind}.{name}', document.since)}" if dated else ""
        rows.append(f"| `{name}` | {_cell(_type(found))} | {meaning}{since} |")
    head = ["| field | type | meaning | since |", "| --- | --- | --- | --- |"]
    return "\n".join([*(head if dated else ["| field | type | meaning |", "| --- | --- | --- |"]), *rows])


def _if_missing(schema: Schema) -> str:
    if "default" not in schema:
        return "May be left out."
    text = json.dumps(schema["default"], ensure_ascii=False)
    return f"Left out: `{text}`." if len(text) <= 60 else "May be left out."


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return _values(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key])
    kinds = schema.get("type", "any value")
    return " or ".join(_one(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _one(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "array" and "prefixItems" in schema:
        return f"list of {', '.join(_type(one) for one in schema['prefixItems'])}"
    if kind == "array":
        return f"list{_count(schema)} of {_type(schema.get('items', {}))}"
    if kind == "object" and "properties" in schema:
        return "object with " + ", ".join(f"`{name}`: {_type(one)}" for name, one in schema["properties"].items())
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object, by name {_type(inner)}" if isinstance(inner, Mapping) else "object"
    if kind == "string" and "contentSchema" in schema:
        return f"JSON of {_type(schema['contentSchema'])} in a string"
    if kind == "string":
        return f"string `{schema['pattern']}`" if "pattern" in schema else "string"
    return kind + _bounds(schema) if kind in ("integer", "number") else kind


def _count(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if least and least == most:
        return f" of {least}"
    return f" of at least {least}" if least else ""


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return "".join(f" {sign} {schema[key]:,}" for key, sign in words.items() if key in schema)


def _values(values: list[Any]) -> str:
    return ", ".join(f"`{one}`" if isinstance(one, str) else f"`{json.dumps(one)}`" for one in values)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
