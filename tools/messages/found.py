"""The messages in the package's source: what is raised, of which class, where."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from messages.makers import Function, makers_of, scopes, texts

__all__ = ["Found", "Message", "find"]

_ROOT = "HnexportError"


@dataclass(frozen=True, kw_only=True, order=True)
class Message:
    """One message of one class.

    Attributes:
        kind: the class of the error; `UsageError` of a command's options, `warning` of what is only said.
        module: dotted, where it is raised.
    """

    kind: str
    module: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything.

    Attributes:
        messages: in alphabetical order, each once for each module.
        classes: of errors, with what they are derived from and what they say of themselves.
        unreadable: how many are put together in ways that the source does not show.
    """

    messages: tuple[Message, ...]
    classes: Mapping[str, tuple[str, str]]
    unreadable: tuple[str, ...]


def find(package: Path) -> Found:
    """Read every module of a package."""
    trees = {_dotted(package, path): ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    classes = _classes(trees.values())
    constants = _constants(trees)
    messages, unreadable = set(), []
    for module, makers in makers_of(trees, classes, constants).items():
        for scope, inside in scopes(trees[module]):
            named = {**constants[module], **texts(inside)}
            given = {argument.arg for argument in scope.args.args} if isinstance(scope, Function) else set()
            for call in [node for node in inside if isinstance(node, ast.Call)]:
                for maker in makers.of(call.func):
                    text = maker.message(call, named)
                    if text is not None and text.strip():
                        messages.add(Message(kind=maker.kind, module=module, text=" ".join(text.split())))
                    elif maker.is_unread(call, given):
                        unreadable.append(f"{module}:{call.lineno}")
            unreadable += [f"{module}:{call.lineno}" for call in _raised(inside) if not makers.knows(call.func)]
    return Found(messages=tuple(sorted(messages)), classes=classes, unreadable=tuple(sorted(unreadable)))


def _raised(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    """The calls that make what is raised."""
    for node in nodes:
        if isinstance(node, ast.Raise):
            either = node.exc.values if isinstance(node.exc, ast.BoolOp) else [node.exc]
            yield from (one for one in either if isinstance(one, ast.Call))


def _dotted(package: Path, path: Path) -> str:
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _classes(trees: Iterable[ast.Module]) -> dict[str, tuple[str, str]]:
    """Errors that are derived from ours."""
    defined = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found: dict[str, tuple[str, str]] = {_ROOT: ("Exception", "")}
    while True:
        new = {
            node.name: (base.id, ast.get_docstring(node) or "")
            for node in defined
            for base in reversed(node.bases)  # the first is what it is a kind of
            if isinstance(base, ast.Name) and base.id in found and (node.name not in found)
        }
        if not new:
            break
        found |= new
    root = next((node for node in defined if node.name == _ROOT), None)
    found[_ROOT] = ("Exception", (ast.get_docstring(root) or "") if root else "")
    return found


def _constants(trees: Mapping[str, ast.Module]) -> dict[str, dict[str, ast.expr]]:
    """By module, its own constants and those that it imports from others, under the names that it has for them."""
    own: dict[str, dict[str, ast.expr]] = {module: {} for module in trees}
    for module, tree in trees.items():
        for node in tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(node, "value", None)
            if isinstance(target, ast.Name) and target.id.lstrip("_").isupper() and isinstance(value, ast.expr):
                own[module][target.id] = own[module].get(value.id, value) if isinstance(value, ast.Name) else value
    return {
        module: own[module]
        | {
            name.asname or name.name: own[node.module][name.name]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in own
            for name in node.names
            if name.name in own[node.module]
        }
        for module, tree in trees.items()
    }
