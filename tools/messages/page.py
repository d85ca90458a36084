"""The error catalogue as Markdown, for docs/reference/errors.md."""

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from messages.found import Found, Message
from messages.said import ERROR, WARNING

__all__ = ["Remedy", "catalogue", "exit_one", "read_remedies", "read_unread", "remedies", "stale", "unlisted"]

_DIFFERENT = "DifferentError"
_AREAS = {
    "bench": "Timing",
    "build": "Building",
    "bundle": "Bundles",
    "card": "Model cards",
    "cli": "Commands",
    "confine": "Confined processes",
    "datasets": "Tables",
    "deploy": "Web page and Triton",
    "evaluate": "Evaluating",
    "export": "Writing files",
    "factories": "Your own function, --from",
    "hypernet": "Hypernetworks and bases",
    "images": "Pictures and arrays",
    "member": "Members as plain networks",
    "networks.hypernetwork": "A hypernetwork of your own",
    "networks.hypnettorch": "Live networks of hypnettorch",
    "networks.modules": "Lists of modules",
    "networks.recipes": "Recipes",
    "networks.steps": "Captured hypernetworks",
    "networks.wide_resnet": "Wide ResNets and checkpoints",
    "number_lists": "Commands",
    "parity": "Verifying and locating",
    "publishing": "Files that are written",
    "quantise": "int8",
    "reading": "Files that are read",
    "recalibration": "Statistics of batch norms",
    "runtime": "Loading and predicting",
    "schemas": "Schemas",
    "score": "Scoring data sets",
    "serve": "The service",
    "spec": "Specifications",
    "training": "Training",
    "tune": "Tuning",
}
_ELSEWHERE = "Elsewhere"
_USAGE = "UsageError"
_SHORTEST = 12


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What a message that many people meet means.

    Attributes:
        message: a part of it, as the catalogue has it.
        kind: the class of the error.
        means: why it is raised.
        do: what to do.
    """

    message: str
    kind: str
    means: str
    do: str


def read_remedies(path: Path) -> tuple[Remedy, ...]:
    """The remedies of a TOML file, in its order."""
    return tuple(Remedy(**one) for one in tomllib.loads(path.read_text(encoding="utf-8"))["remedy"])


def stale(found: Found, known: Sequence[Remedy]) -> list[str]:
    """Remedies of messages that are no longer raised."""
    return [
        one.message
        for one in known
        if not any(message.kind == one.kind and one.message in message.text for message in found.messages)
    ]


def read_unread(path: Path) -> dict[str, str]:
    """By function, why a text is passed on there that the source does not show, of a TOML file."""
    return {one["where"]: one["why"] for one in tomllib.loads(path.read_text(encoding="utf-8"))["unread"]}


def unlisted(found: Found, known: Mapping[str, str]) -> list[str]:
    """Calls whose text cannot be read, for no reason that is known; and reasons that no call needs any more."""
    needed = {one.where for one in found.unreadable}
    calls = [f"{one.module}, line {one.line}: what it says cannot be read" for one in found.unreadable]
    kept = [text for text, one in zip(calls, found.unreadable, strict=True) if one.where not in known]
    return kept + [f"{where}: nothing is unread there" for where in known if where not in needed]


def remedies(known: Sequence[Remedy], found: Found) -> str:
    """The remedies, each under its whole message."""
    parts = []
    for one in known:
        whole = next(item.text for item in found.messages if item.kind == one.kind and one.message in item.text)
        parts.append(f"{_code(whole)}\\\n{one.means}\\\n**Do**: {one.do}")
    return "\n\n".join(parts)


def exit_one(package: Path) -> set[str]:
    """The errors for which a command ends with 1: `DifferentError`, and what is derived from it itself."""
    return {_DIFFERENT} | {
        node.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == _DIFFERENT for base in node.bases)
    }


def catalogue(found: Found, different: set[str]) -> str:
    """Every message by class and area."""
    return "\n\n".join(_parts(found, different))


def _parts(found: Found, different: set[str]) -> Iterator[str]:
    shown = [message for message in found.messages if " " in message.text and len(message.text) >= _SHORTEST]
    for kind in sorted({name for name in found.classes if not name.startswith("_")}):
        base, text = found.classes[kind]
        yield f"### {kind}"
        code = 1 if kind in different else 2
        yield f"{_paragraph(text)} (A kind of `{base}`; exit code {code}.)"
        yield from _by_area([one for one in shown if _public(one.kind, found) == kind])
    yield "### Wrong options of a command"
    yield (
        "What `click` says of options that do not exist is not listed. "
        "(Exit code 2, after a line that says how to call it.)"
    )
    yield from _by_area([one for one in shown if one.kind == _USAGE])
    yield "## Warnings"
    yield (
        "Warnings are said through Python's `logging`, under the name of the module, and change no result: a command "
        "writes them to standard error. `%s`, `%d` and `%g` stand for what is put in."
    )
    yield from _by_area([one for one in shown if one.kind == WARNING])
    yield "## Lines of errors"
    yield (
        "These are no exceptions. A command writes them to standard error before it ends with a code that is not 0: "
        "what went wrong outside of the classes above, what became of the output, and, where it could not show its "
        "answer, what it had done by then. A service logs them and goes on."
    )
    yield from _by_area([one for one in shown if one.kind == ERROR])


def _public(kind: str, found: Found) -> str:
    while kind.startswith("_") and kind in found.classes:
        kind = found.classes[kind][0]
    return kind


def _by_area(messages: Sequence[Message]) -> Iterator[str]:
    areas: dict[str, list[str]] = {}
    for message in messages:
        texts = areas.setdefault(_area(message.module), [])
        if message.text not in texts:
            texts.append(message.text)
    for area in sorted(areas, key=lambda name: (name == _ELSEWHERE, name)):
        yield f"**{area}**"
        yield "\n".join(f"- {_code(text)}" for text in areas[area])


def _area(module: str) -> str:
    parts = module.split(".")[1:]
    for count in (2, 1):
        if ".".join(parts[:count]) in _AREAS:
            return _AREAS[".".join(parts[:count])]
    return _ELSEWHERE


def _paragraph(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"
