"""Protobuf's text format, as far as a `config.pbtxt` needs it. Standard library only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Word", "as_text"]


class Word(str):
    """A name of an enumeration, which stands without quotation marks."""

    __slots__ = ()


def as_text(fields: Mapping[str, Any]) -> str:
    """A message: numbers, texts, messages (mappings), and lists of them. What is None is left out."""
    return "".join(f"{line}\n" for line in _lines(fields, ""))


def _lines(fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            yield from _message(name, value, indent)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if value and all(isinstance(item, Mapping) for item in value):
                for item in value:
                    yield from _message(name, item, indent)
            else:
                yield f"{indent}{name}: [{', '.join(map(_scalar, value))}]"
        else:
            yield f"{indent}{name}: {_scalar(value)}"


def _message(name: str, fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    inner = list(_lines(fields, f"{indent}  "))
    if not inner:
        yield f"{indent}{name} {{ }}"
        return
    yield f"{indent}{name} {{"
    yield from inner
    yield f"{indent}}}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Word):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{text}"'
