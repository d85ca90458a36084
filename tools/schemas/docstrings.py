"""What docstrings say of classes and of their attributes: the descriptions of schemas."""

import inspect
import re
from collections.abc import Iterator

__all__ = ["attributes_of", "described"]

_SECTION = re.compile(r"^(Attributes|Raises|Args|Returns):$")
_ENTRY = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): (.+)$")


def described(kind: type) -> str:
    """What a class is, without the sections that follow."""
    lines = []
    for line in _lines(kind):
        if _SECTION.match(line):
            break
        lines.append(line)
    return _joined(lines)


def attributes_of(kind: type) -> dict[str, str]:
    """What the section "Attributes" says of each field, also those of the classes that it is derived from."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if one.__module__.startswith("hnexport"):
            found |= dict(_entries(_lines(one)))
    return found


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    names: list[str] = []
    text: list[str] = []
    inside = False
    for line in [*lines, "End:"]:
        entry = _ENTRY.match(line[4:]) if line.startswith("    ") and not line.startswith("     ") else None
        if names and (entry or not line.startswith("     ")):
            yield from ((name, _sentence(_joined(text))) for name in names)
            names = []
        if not line.startswith(" ") and line:
            inside = line == "Attributes:"
        elif inside and entry:
            names, text = entry[1].split(", "), [entry[2]]
        elif inside and names:
            text.append(line)


def _lines(kind: type) -> list[str]:
    own = kind.__dict__.get("__doc__") or ""
    return inspect.cleandoc(own).splitlines()


def _joined(lines: list[str]) -> str:
    paragraphs = "\n".join(lines).strip().split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in paragraphs)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "…")) else f"{text}."
