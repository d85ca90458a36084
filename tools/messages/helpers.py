"""Functions that return a message, or a part of one: what they return, for whoever raises it or says it."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from messages.scopes import Function, last, texts
from messages.templates import template

__all__ = ["Helpers", "helpers_of"]

_DEEPEST = 3
_RETURNS = ("str", "str | None")


@dataclass(frozen=True, kw_only=True)
class Helper:
    """A function whose annotation says that it returns a text.

    Attributes:
        parameters: its arguments, without `self`.
        returned: what it returns.
        named: its local texts and the constants of its module.
    """

    parameters: Sequence[str]
    returned: Sequence[ast.expr]
    named: Mapping[str, ast.expr]


@dataclass(frozen=True, kw_only=True)
class Helpers:
    """The helpers that a module can call, by name."""

    found: Mapping[str, Helper]

    def texts(self, value: ast.expr, named: Mapping[str, ast.expr], depth: int = 0) -> Iterator[str]:
        """The texts that an expression may be, as far as it is a call of helpers."""
        if depth >= _DEEPEST:
            return
        if isinstance(value, ast.Name) and value.id in named:
            yield from self.texts(named[value.id], named, depth + 1)
        elif isinstance(value, ast.IfExp):
            for one in (value.body, value.orelse):
                yield from self._either(one, named, depth)
        elif isinstance(value, ast.Call) and last(value.func) in self.found:
            helper = self.found[last(value.func)]
            inside = {**helper.named, **_given(helper.parameters, value, named)}
            for returned in helper.returned:
                yield from self._either(returned, inside, depth)

    def _either(self, value: ast.expr, named: Mapping[str, ast.expr], depth: int) -> Iterator[str]:
        text = template(value, named)
        if text is None:
            yield from self.texts(value, named, depth + 1)
        else:
            yield text


def helpers_of(trees: Mapping[str, ast.Module], constants: Mapping[str, Mapping[str, ast.expr]]) -> dict[str, Helpers]:
    """By module, what returns a text there: its own functions, and public ones whose name no other one has."""
    own: dict[str, dict[str, Helper]] = {
        module: {function.name: _helper(function, constants[module]) for function in _returning_text(tree)}
        for module, tree in trees.items()
    }
    public: defaultdict[str, list[Helper]] = defaultdict(list)
    for functions in own.values():
        for name, helper in functions.items():
            if name[0] != "_":
                public[name].append(helper)
    single = {name: found[0] for name, found in public.items() if len(found) == 1}
    return {module: Helpers(found={**single, **own[module]}) for module in trees}


def _returning_text(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.returns and ast.unparse(node.returns) in _RETURNS:
            yield node


def _helper(function: Function, constants: Mapping[str, ast.expr]) -> Helper:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    parameters = names[names[:1] in (["self"], ["cls"]) :] + [argument.arg for argument in function.args.kwonlyargs]
    inside = list(ast.walk(function))
    returned = [node.value for node in inside if isinstance(node, ast.Return) and node.value is not None]
    return Helper(parameters=parameters, returned=returned, named={**constants, **texts(inside)})


def _given(parameters: Sequence[str], call: ast.Call, named: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
    """The texts that are given for parameters."""
    given = dict(zip(parameters, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    told = {name: template(value, named) for name, value in given.items()}
    return {name: ast.Constant(text) for name, text in told.items() if text is not None}
