"""Frozen dataclasses to JSON and back, strictly.

Specifications and manifests are frozen dataclasses; files hold them as JSON. Reading is strict: an unknown field, a
missing one or a value of the wrong type is an error that names its path (`$.network.classes`). Standard library only,
because `hnexport.runtime` reads manifests on machines that have little else installed.
"""

import dataclasses
import enum
import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from hnexport.errors import HnexportError, SpecError
from hnexport.reading import shown

__all__ = ["SPARSE", "RecordError", "from_json", "to_json"]

T = TypeVar("T")
SPARSE: Mapping[str, Any] = types.MappingProxyType({"sparse": True})
"""Metadata of a field that is not written where it has its default: what was written without it stays as it is."""
_INT64 = range(-(2**63), 2**63)


class RecordError(HnexportError, ValueError):
    """A JSON value that does not fit the record it should become; the message starts with its path."""


def to_json(value: Any) -> Any:
    """Turn a record into JSON values: dataclasses into objects, tuples into lists, enums into their values.

    Raises:
        TypeError: the record holds something that JSON cannot, for instance an array, a path or a key that is not text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {field.name: to_json(item) for field, item in held if not _is_left_out(field, item)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"records need strings as keys, found {list(value)!r}")
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"records cannot hold {value!r} of type {type(value).__name__}")


def _is_left_out(field: "dataclasses.Field[Any]", value: Any) -> bool:
    return bool(field.metadata.get("sparse")) and value == field.default


def from_json(kind: type[T], value: Any, path: str = "$") -> T:
    """Build a `kind` from JSON values.

    Raises:
        RecordError: a field is missing, unknown or of the wrong type; an integer has more than 64 bits, a number is not
            finite, a string cannot be encoded.
        SpecError: the record's own validation refuses it; the message starts with its path where it is not the whole.
    """
    return typing.cast("T", _convert(kind, value, path))


def _convert(kind: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _convert_record(kind, value, path)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, path)
    if origin is typing.Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise RecordError(f"{path}: expected one of {', '.join(map(repr, arguments))}, found {shown(value)}")
        return value
    if origin is tuple:
        return _convert_tuple(arguments, value, path)
    if origin in (dict, Mapping) and arguments[0] is str:
        _expect(isinstance(value, dict), "an object", value, path)
        keys = [_text(key, path) for key in value]
        return {key: _convert(arguments[1], value[key], _step(path, key)) for key in keys}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            choices = ", ".join(repr(member.value) for member in kind)
            raise RecordError(f"{path}: expected one of {choices}, found {shown(value)}") from None
    return _convert_scalar(kind, value, path)


def _convert_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is float:
        _expect(isinstance(value, int | float) and not isinstance(value, bool), "a number", value, path)
        return _float(value, path)
    if kind is int:
        _expect(isinstance(value, int) and not isinstance(value, bool), "an integer", value, path)
        _expect(value in _INT64, "an integer of at most 64 bits", value, path)
        return value
    if kind is str:
        return _text(value, path)
    if kind is bool:
        _expect(isinstance(value, bool), "true or false", value, path)
        return value
    raise TypeError(f"{path}: records cannot hold {kind!r}")


def _float(value: float, path: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    _expect(math.isfinite(number), "a finite number that a float64 can hold", value, path)
    return number


def _text(value: Any, path: str) -> str:
    """A string that can be written: JSON escapes can spell halves of surrogate pairs, which no encoding has."""
    _expect(isinstance(value, str), "a string", value, path)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RecordError(f"{path}: expected characters, found half a surrogate pair in {shown(value)}") from None
    return str(value)


def _step(path: str, key: str) -> str:
    """The path of an entry; a key that is no plain name is quoted and cut."""
    return f"{path}.{key}" if re.fullmatch(r"[\w.-]{1,80}", key, re.ASCII) else f"{path}[{shown(key)}]"


def _convert_record(kind: Any, value: Any, path: str) -> Any:
    _expect(isinstance(value, dict), "an object", value, path)
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = [name for name in value if name not in fields]
    if unknown:
        raise RecordError(f"{path}: unknown field {shown(unknown[0])}; known are {', '.join(fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecordError(f"{path}: field {missing[0]!r} is missing")
    converted = {name: _convert(hints[name], item, f"{path}.{name}") for name, item in value.items()}
    try:
        return kind(**converted)
    except SpecError as error:
        raise SpecError(f"{path}: {error}" if path != "$" else str(error)) from error


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _convert_union(arguments: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    kinds = [argument for argument in arguments if argument is not type(None)]
    if len(kinds) == 1:
        return _convert(kinds[0], value, path)
    if set(kinds) == {int, str}:
        return _convert(str if isinstance(value, str) else int, value, path)
    raise TypeError(f"{path}: records cannot hold a union of {kinds}")


def _convert_tuple(arguments: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    _expect(isinstance(value, list | tuple), "a list", value, path)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    _expect(len(value) == len(arguments), f"a list of {len(arguments)}", value, path)
    return tuple(
        _convert(kind, item, f"{path}[{i}]") for i, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )


def _expect(condition: bool, expected: str, value: Any, path: str) -> None:
    if not condition:
        raise RecordError(f"{path}: expected {expected}, found {shown(value)}")
