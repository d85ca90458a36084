"""What is called to make an error or a warning: classes, functions and methods that pass a message on."""

import ast
import builtins
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from messages.said import said
from messages.scopes import Function, last, texts
from messages.templates import template

__all__ = ["Makers", "makers_of"]

_USAGE = "UsageError"
_CLICK = ("UsageError", "BadParameter", "BadArgumentUsage", "BadOptionUsage", "NoSuchOption", "ClickException")
_AFTER_ANOTHER = ("RefusedError", "BadOptionUsage", "NoSuchOption")  # whose message is their second argument
_FAIL = "fail"  # of click's types and contexts


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What is called with a message, or with a part of one.

    Attributes:
        kind: the class of the error.
        parameters: its arguments, without `self`.
        text: the message, in which parameters stand for what is given.
        named: what other names in `text` are.
        always: the whole message, where it is no argument that is called so.
    """

    kind: str
    parameters: Sequence[str] = ("message",)
    text: ast.expr = field(default_factory=lambda: ast.Name("message"))
    named: Mapping[str, ast.expr] = field(default_factory=dict)
    always: ast.expr | None = None

    def given(self, call: ast.Call) -> dict[str, ast.expr]:
        """The arguments of a call, by parameter."""
        named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        return dict(zip(self.parameters, call.args, strict=False)) | named

    def whole(self, call: ast.Call) -> ast.expr | None:
        """The argument that is the whole message, where one is."""
        if self.always is not None:
            return self.always
        return self.given(call).get(self.text.id) if isinstance(self.text, ast.Name) else None

    def message(self, call: ast.Call, named: Mapping[str, ast.expr]) -> str | None:
        """What a call says; None where it says nothing, or the source does not show what.

        Args:
            named: names where the call stands.
        """
        if self.always is not None:
            return template(self.always, named)
        told = {name: template(value, named) for name, value in self.given(call).items()}
        read = {name: ast.Constant(text) for name, text in told.items() if text is not None}
        used = {node.id for node in ast.walk(self.text) if isinstance(node, ast.Name)} & set(read)
        return template(self.text, {**self.named, **read}) if used else None


@dataclass(frozen=True, kw_only=True)
class Makers:
    """What the names in a module make.

    Attributes:
        named: by a name that stands alone or after a module.
        methods: by a name that stands after an object.
        known: names that make nothing, or whose messages are read where they are defined.
    """

    named: Mapping[str, Sequence[Maker]]
    methods: Mapping[str, Sequence[Maker]]
    known: set[str]

    def of(self, call: ast.Call) -> list[Maker]:
        """What a call makes, or says."""
        told = said(call)
        if told is not None:
            kind, text = told
            return [Maker(kind=kind, always=text)]
        return self._made_by(call.func)

    def _made_by(self, called: ast.expr) -> list[Maker]:
        if isinstance(called, ast.IfExp):
            return [*self._made_by(called.body), *self._made_by(called.orelse)]
        if isinstance(called, ast.Name):
            return list(self.named.get(called.id, ()))
        if not isinstance(called, ast.Attribute):
            return []
        if called.attr.islower() and "log" in ast.unparse(called.value):
            return []
        return list(self.methods.get(called.attr, ()))

    def defined(self, tree: ast.Module) -> list[Maker]:
        """The classes of a module that put their messages together themselves."""
        classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        makers = [maker for name in classes for maker in self.named.get(name, ())]
        return [maker for maker in makers if not isinstance(maker.text, ast.Name)]

    def knows(self, called: ast.expr) -> bool:
        """Whether it is known what raising an expression's result says."""
        if isinstance(called, ast.IfExp):
            return self.knows(called.body) and self.knows(called.orelse)
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        is_python_s = isinstance(called, ast.Name) and hasattr(builtins, name)
        return is_python_s or name in self.known or bool(self._made_by(called))


def makers_of(
    trees: Mapping[str, ast.Module],
    classes: Mapping[str, object],
    constants: Mapping[str, Mapping[str, ast.expr]],
) -> dict[str, Makers]:
    """By module, what makes errors there.

    Args:
        classes: our errors.
        constants: by module.
    """
    defined = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    usage = {node.name for node in defined if {last(base) for base in node.bases} & set(_CLICK)}
    errors = {
        name: [Maker(kind=kind, parameters=("what", "message") if name in _AFTER_ANOTHER else ("message",))]
        for name, kind in {**dict.fromkeys({*_CLICK, *usage}, _USAGE), **{name: name for name in classes}}.items()
    }
    for node in defined:
        if node.name in errors:
            errors[node.name] = _own(node, errors[node.name][0].kind) or errors[node.name]
    base = Makers(
        named=errors, methods={**errors, _FAIL: [Maker(kind=_USAGE)], **_attributes(defined, classes)}, known=set()
    )
    first = [_with(tree, base, constants[module]) for module, tree in trees.items()]
    renamed = {name for tree in trees.values() for name in _renamed(tree)}
    named = {name: one for makers in first for name, one in makers.named.items() if name not in renamed}
    methods = {name: one for makers in first for name, one in makers.methods.items()}
    public = Makers(
        named={**{name: one for name, one in named.items() if name[0] != "_"}, **base.named},
        methods={**{name: one for name, one in methods.items() if name[0] != "_"}, **base.methods},
        known={name for makers in first for name in makers.known if name[0] != "_"} | {node.name for node in defined},
    )
    return {module: _with(tree, public, constants[module]) for module, tree in trees.items()}


def _own(node: ast.ClassDef, kind: str) -> list[Maker]:
    """What a class makes whose own `__init__` puts the message together."""
    for function in [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]:
        for call in [one for one in ast.walk(function) if isinstance(one, ast.Call)]:
            if ast.unparse(call.func) == "super().__init__" and call.args:
                parameters = [one.arg for one in (*function.args.args[1:], *function.args.kwonlyargs)]
                named = texts(list(ast.walk(function)))
                return [Maker(kind=kind, parameters=parameters, text=call.args[0], named=named)]
    return []


def _attributes(defined: Sequence[ast.ClassDef], classes: Mapping[str, object]) -> dict[str, list[Maker]]:
    """Fields of classes that hold a class of errors, `error: type[HnexportError] = BundleError`."""
    found = {}
    for node in [one for owner in defined for one in owner.body if isinstance(one, ast.AnnAssign)]:
        kinds = [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and one.id in classes]
        if isinstance(node.target, ast.Name) and kinds and ast.unparse(node.annotation).startswith("type["):
            default = last(node.value) if node.value else ""
            found[node.target.id] = [Maker(kind=default if default in classes else kinds[0])]
    return found


def _with(tree: ast.Module, outside: Makers, constants: Mapping[str, ast.expr]) -> Makers:
    """What makes errors in a module: what does outside of it, under its names for that, and its own functions."""
    renamed = _renamed(tree)
    outside = Makers(
        named={**outside.named, **{new: outside.named[old] for new, old in renamed.items() if old in outside.named}},
        methods=outside.methods,
        known=outside.known | {new for new, old in renamed.items() if old in outside.known},
    )
    functions: defaultdict[str, list[Maker]] = defaultdict(list)
    methods: defaultdict[str, list[Maker]] = defaultdict(list)
    making = set()
    for function in [node for node in ast.walk(tree) if isinstance(node, Function)]:
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        is_method = names[:1] in (["self"], ["cls"])
        parameters = names[is_method:] + [argument.arg for argument in function.args.kwonlyargs]
        returned = [one.value for one in ast.walk(function) if isinstance(one, ast.Return)]
        named = {**constants, **texts(list(ast.walk(function)))}
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
            for maker in outside.of(call):
                making.add(function.name)
                text = maker.whole(call)
                used = {one.id for one in ast.walk(text) if isinstance(one, ast.Name)} if text else set()
                passed = isinstance(text, ast.Name) or call in returned
                if text and passed and used & set(parameters):
                    made = Maker(kind=maker.kind, parameters=parameters, text=text, named=named)
                    (methods if is_method else functions)[function.name].append(made)
    return Makers(
        named={**outside.named, **functions},
        methods={**outside.methods, **functions, **methods},
        known=outside.known | making,
    )


def _renamed(tree: ast.Module) -> dict[str, str]:
    """What a module imports under another name, by that name."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.asname: name.name for node in imports for name in node.names if name.asname}
