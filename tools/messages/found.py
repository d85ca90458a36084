"""The messages in the package's source: what is raised, of which class, where."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from messages.templates import template

__all__ = ["Found", "Message", "find"]

_ROOT = "HnexportError"
_USAGE = {"UsageError": "UsageError", "BadParameter": "UsageError", "BadOptionUsage": "UsageError"}
_LOGGED = ("warning",)
WARNING = "warning"
_PLACES = {"RefusedError": 1}  # of the message among the arguments, where it is not the first

Function = ast.FunctionDef | ast.AsyncFunctionDef


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
    local = {module: _helpers(tree, classes, {}) for module, tree in trees.items()}
    public = {name: helper for helpers in local.values() for name, helper in helpers.items() if name[0] != "_"}
    constants = _constants(trees)
    messages, unreadable = set(), []
    for module, tree in trees.items():
        helpers = {**public, **_helpers(tree, classes, public)}
        for kind, call, value, named, is_own in _calls(tree, classes, helpers):
            text = template(value, {**constants[module], **named})
            if text is not None and text.strip():
                messages.add(Message(kind=kind, module=module, text=" ".join(text.split())))
            elif not is_own:
                unreadable.append(f"{module}:{call.lineno}")
    return Found(messages=tuple(sorted(messages)), classes=classes, unreadable=tuple(sorted(unreadable)))


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
            for base in node.bases
            if isinstance(base, ast.Name) and base.id in found and (node.name not in found)
        }
        if not new:
            break
        found |= new
    root = next((node for node in defined if node.name == _ROOT), None)
    found[_ROOT] = ("Exception", (ast.get_docstring(root) or "") if root else "")
    return found


def _kind(call: ast.Call, classes: Mapping[str, object]) -> str:
    """The class of the error that a call makes, "" where it makes none."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name in classes:
        return name
    if name in _USAGE:
        return _USAGE[name]
    logs = isinstance(call.func, ast.Attribute) and name in _LOGGED and "log" in ast.unparse(call.func.value)
    return WARNING if logs or ast.unparse(call.func) == "warnings.warn" else ""


def _helpers(
    tree: ast.Module, classes: Mapping[str, object], others: Mapping[str, tuple[str, int]]
) -> dict[str, tuple[str, int]]:
    """Functions that raise what they are given: the class, and which argument is the message."""
    found: dict[str, tuple[str, int]] = {}
    for function in [node for node in ast.walk(tree) if isinstance(node, Function)]:
        names = [argument.arg for argument in function.args.args]
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args]:
            kind = _kind(call, classes)
            place = _PLACES.get(kind, 0)
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if not kind and name in others and len(call.args) > others[name][1]:
                kind, place = others[name]
            value = call.args[place] if kind and len(call.args) > place else None
            if isinstance(value, ast.Name) and value.id in names:
                found[function.name] = (kind, names.index(value.id) - (names[0] in ("self", "cls")))
    return found


def _calls(
    tree: ast.Module, classes: Mapping[str, object], helpers: Mapping[str, tuple[str, int]]
) -> Iterator[tuple[str, ast.Call, ast.expr, Mapping[str, ast.expr], bool]]:
    """Every call that makes a message: its class, the message, local texts, and whether a helper passes it on."""
    for scope, inside in _scopes(tree):
        named = _texts(inside)
        given = {argument.arg for argument in scope.args.args} if isinstance(scope, Function) else set()
        for call in [node for node in inside if isinstance(node, ast.Call)]:
            kind = _kind(call, classes)
            place = _PLACES.get(kind, 0)
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if not kind and name in helpers:
                kind, place = helpers[name]
            if kind and len(call.args) > place:
                value = call.args[place]
                yield kind, call, value, named, isinstance(value, ast.Name) and value.id in given


def _scopes(tree: ast.Module) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """The module and each function, with the nodes that lie in no function inside of it."""
    pending: list[ast.AST] = [tree]
    while pending:
        scope, inside = pending.pop(), []
        stack = list(ast.iter_child_nodes(scope))
        while stack:
            node = stack.pop()
            if isinstance(node, Function):
                pending.append(node)
            else:
                inside.append(node)
                stack.extend(ast.iter_child_nodes(node))
        yield scope, inside


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


def _texts(nodes: Iterable[ast.AST]) -> dict[str, ast.expr]:
    """Names that are given a value once."""
    found: dict[str, ast.expr] = {}
    twice = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            twice |= {name} & set(found)
            found[name] = node.value
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            twice.add(node.target.id)
    return {name: value for name, value in found.items() if name not in twice}
