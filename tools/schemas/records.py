"""From frozen dataclasses, as `hnexport.records` reads and writes them, to JSON Schema (draft 2020-12)."""

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from hnexport.records import to_json
from schemas.docstrings import attributes_of, described
from schemas.rules import DESCRIPTIONS, NULLABLE, RULES

__all__ = ["Records", "Schema", "optional"]

Schema = dict[str, Any]
Special = Callable[["Records"], Schema]


class Records:
    """The `$defs` of one schema.

    Args:
        written: describe what is written: every field is there, unless it is one of those that are left out where they
            have their default. Otherwise what is read: a field that has a default may be missing.
        special: classes whose schema is made by hand, by name.
    """

    def __init__(self, *, written: bool, special: Mapping[str, Special] | None = None) -> None:
        self.defs: dict[str, Schema] = {}
        self._written, self._special = written, special or {}

    def of(self, kind: Any) -> Schema:
        """The schema of a type: a record's is a reference to its definition."""
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind is Any:
            return {}
        if dataclasses.is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
            return self._defined(typing.cast("type", kind))
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments)
        if origin is tuple:
            return self._tuple(arguments)
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[kind]}

    def fields(self, kind: type) -> Schema:
        """The schema of a record itself."""
        hints, said = typing.get_type_hints(kind), attributes_of(kind)
        properties, required = {}, []
        for field in dataclasses.fields(kind):
            name = f"{_plain(kind)}.{field.name}"
            schema = self.of(hints[field.name])
            if name in NULLABLE:
                schema = optional(schema)
            text = _as_json_says(DESCRIPTIONS.get(name) or said.get(field.name, ""))
            if name in NULLABLE:
                text = f"{text} Null where it is not finite."
            default = _default(field)
            properties[field.name] = {
                **({"description": text.strip()} if text else {}),
                **with_rule(schema, RULES.get(name, {})),
                **({} if default is dataclasses.MISSING else {"default": to_json(default)}),
            }
            if default is dataclasses.MISSING or (self._written and not field.metadata.get("sparse")):
                required.append(field.name)
        return {
            "description": _as_json_says(described(kind)),
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def _defined(self, kind: type) -> Schema:
        name = _plain(kind)
        if name not in self.defs:
            self.defs[name] = {}  # its place, before those that it needs
            if name in self._special:
                self.defs[name] = self._special[name](self)
            elif issubclass(kind, enum.Enum):
                self.defs[name] = {"description": _as_json_says(described(kind)), "enum": [one.value for one in kind]}
            else:
                self.defs[name] = self.fields(kind)
        return {"$ref": f"#/$defs/{name}"}

    def _union(self, arguments: tuple[Any, ...]) -> Schema:
        kinds = [self.of(one) for one in arguments if one is not type(None)]
        schema = kinds[0] if len(kinds) == 1 else {"type": [one["type"] for one in kinds]}
        return optional(schema) if type(None) in arguments else schema

    def _tuple(self, arguments: tuple[Any, ...]) -> Schema:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": self.of(arguments[0])}
        count = len(arguments)
        if len(set(arguments)) == 1:
            return {"type": "array", "items": self.of(arguments[0]), "minItems": count, "maxItems": count}
        kinds = [self.of(one) for one in arguments]
        return {"type": "array", "prefixItems": kinds, "minItems": count, "maxItems": count}


def optional(schema: Schema) -> Schema:
    """The same, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return schema if "null" in schema.get("type", ()) else {"anyOf": [schema, {"type": "null"}]}


def with_rule(schema: Schema, rule: Schema) -> Schema:
    """A schema with what is further asked of it, of its items too."""
    found = {**schema, **rule}
    for key in ("items", "additionalProperties"):
        if key in rule:
            found[key] = with_rule(schema[key], rule[key])
    return found


def _as_json_says(text: str) -> str:
    """`None` is null in JSON."""
    return re.sub(r"(^|[.:] )None\b", r"\1Null", re.sub(r"(?<=[a-z,;] )None\b", "null", text))


def _plain(kind: type) -> str:
    return kind.__name__.removeprefix("_")


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
