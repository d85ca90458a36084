"""The messages in the package's source: what is raised, of which class, where."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from messages.helpers import Helpers, helpers_of
from messages.makers import Maker, makers_of
from messages.scopes import Function, scopes, texts
from messages.templates import template

__all__ = ["Found", "Message", "Unread", "find"]

_ROOT = "HnexportError"
_PUT_IN = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-z]|^Error:")
_WORD = re.compile(r"[a-z]{2}")


@dataclass(frozen=True, kw_only=True, order=True)
class Message:
    """One message of one class.

    Attributes:
        kind: the class of the error; `UsageError` of a command's options, `warning` and `error` of what is only said.
        module: dotted, where it is raised.
    """

    kind: str
    module: str
    text: str


@dataclass(frozen=True, kw_only=True, order=True)
class Unread:
    """A call with a message that the source does not show.

    Attributes:
        module: dotted.
        line: from 1.
        function: in which the call stands, "" where in none.
    """

    module: str
    line: int
    function: str

    @property
    def where(self) -> str:
        """The function, whatever its line is."""
        return f"{self.module}:{self.function}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything.

    Attributes:
        messages: in alphabetical order, each once for each module.
        classes: of errors, with what they are derived from and what they say of themselves.
        unreadable: the calls whose messages are put together in ways that the source does not show.
    """

    messages: tuple[Message, ...]
    classes: Mapping[str, tuple[str, str]]
    unreadable: tuple[Unread, ...]


def find(package: Path) -> Found:
    """Read every module of a package."""
    trees = {_dotted(package, path): ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    classes = _classes(trees.values())
    constants = _constants(trees)
    helpers = helpers_of(trees, constants)
    messages, unreadable = set(), []
    for module, makers in makers_of(trees, classes, constants).items():
        read = {maker.kind: {_of_class(maker, constants[module])} for maker in makers.defined(trees[module])}
        for scope, inside in scopes(trees[module]):
            name = scope.name if isinstance(scope, Function) else ""
            named, passed = {**constants[module], **texts(inside)}, _passed(scope, inside)
            for call in [node for node in inside if isinstance(node, ast.Call)]:
                for maker in makers.of(call):
                    found = _texts(maker, call, named, helpers[module])
                    read.setdefault(maker.kind, set()).update(found)
                    if not found and _is_unread(maker.whole(call), passed):
                        unreadable.append(Unread(module=module, line=call.lineno, function=name))
            unknown = [call for call in _raised(inside) if not makers.knows(call.func)]
            unreadable += [Unread(module=module, line=call.lineno, function=name) for call in unknown]
        messages |= {
            Message(kind=kind, module=module, text=" ".join(text.split()))
            for kind, found in read.items()
            for text in found
            if text
        }
    return Found(messages=tuple(sorted(messages)), classes=classes, unreadable=tuple(sorted(set(unreadable))))


def _of_class(maker: Maker, constants: Mapping[str, ast.expr]) -> str:
    """What every error of a class says, "" where each says its own."""
    return template(maker.text, {**constants, **maker.named}) or ""


def _texts(maker: Maker, call: ast.Call, named: Mapping[str, ast.expr], helpers: Helpers) -> set[str]:
    """What a call says, in words; more than one text where a function makes it that has several."""
    text, whole = maker.message(call, named), maker.whole(call)
    found = [text] if text is not None else list(helpers.texts(whole, named)) if whole is not None else []
    return {one for one in found if _WORD.search(_PUT_IN.sub("", one))}


def _passed(scope: ast.AST, inside: Iterable[ast.AST]) -> set[str]:
    """The names in a function that hold what others said: its arguments, and errors that it catches."""
    given = (
        {one.arg for one in ast.walk(scope.args) if isinstance(one, ast.arg)} if isinstance(scope, Function) else set()
    )
    return given | {node.name for node in inside if isinstance(node, ast.ExceptHandler) and node.name}


def _is_unread(whole: ast.expr | None, passed: set[str]) -> bool:
    """Whether a call without a text has one: it is no part, not empty, and nothing that is passed on."""
    if whole is None or (isinstance(whole, ast.Constant) and whole.value in ("", None)):
        return False
    return not _is_passed_on(whole, passed)


def _is_passed_on(value: ast.expr, passed: set[str]) -> bool:
    if isinstance(value, ast.Name):
        return value.id in passed
    if isinstance(value, ast.Attribute | ast.FormattedValue):
        return _is_passed_on(value.value, passed)
    if isinstance(value, ast.JoinedStr):
        return any(_is_passed_on(part, passed) for part in value.values)
    if isinstance(value, ast.IfExp):
        return _is_passed_on(value.body, passed) and _is_passed_on(value.orelse, passed)
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "str" and value.args:
        return _is_passed_on(value.args[0], passed)
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and not value.args
        and _is_passed_on(value.func, passed)
    )


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
