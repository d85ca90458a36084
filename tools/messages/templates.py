"""A message as it stands in the source, with capital letters where something is put in."""

import ast
import operator
import re
from collections.abc import Callable, Mapping

__all__ = ["template"]

_VOWELS = re.compile(r"[^A-Za-z0-9]+")
_PLAIN = {"shown", "str", "repr", "sorted", "list", "len", "tuple", "shorten", "type", "min", "max", "next", "iter"}
_MODULES = {"os"}  # whose functions' results are not called after them
_COMPUTED: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}
Named = Mapping[str, ast.expr]


def template(value: ast.expr, named: Named, depth: int = 0) -> str | None:
    """The text of a message, None where the source does not say it.

    Args:
        named: local names that are given a text once, and constants of modules.
    """
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else None
    if isinstance(value, ast.JoinedStr):
        return "".join(_part(part, named, depth) for part in value.values)
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        sides = [template(side, named, depth) for side in (value.left, value.right)]
        return None if all(side is None for side in sides) else "".join("…" if side is None else side for side in sides)
    if isinstance(value, ast.Name) and value.id in named and depth < 3:
        return template(named[value.id], named, depth + 1)
    if isinstance(value, ast.IfExp):
        return _either(value, named, depth)
    if isinstance(value, ast.Call) and _called(value) == "spelled" and len(value.args) == 2:
        return template(value.args[1], named, depth)
    return None


def _either(value: ast.IfExp, named: Named, depth: int) -> str | None:
    found = [template(one, named, depth) for one in (value.body, value.orelse)]
    if any(one is None for one in found):
        return None
    told = [one for one in found if one]
    return told[0] if len(told) == 1 else f"({'|'.join(map(str, told))})"


def _part(part: ast.expr, named: Named, depth: int) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    if isinstance(part, ast.FormattedValue):
        found = template(part.value, named, depth)
        number = _number(part.value, named) if found is None and not isinstance(part.value, ast.Constant) else None
        if number is not None:
            shown = template(part.format_spec, named) if part.format_spec else ""
            return format(number, shown or "")
        if found is not None and part.conversion == ord("r") and isinstance(part.value, ast.Name):
            return repr(found)
        return found if found is not None else _word(part.value)
    return "…"


def _number(value: ast.expr, named: Named, depth: int = 0) -> float | None:
    """What an expression of constants is, None where something else is in it."""
    if isinstance(value, ast.Constant) and isinstance(value.value, int | float) and not isinstance(value.value, bool):
        return value.value
    if isinstance(value, ast.Name) and value.id.isupper() and value.id in named and depth < 3:
        return _number(named[value.id], named, depth + 1)
    if isinstance(value, ast.BinOp) and type(value.op) in _COMPUTED:
        left, right = _number(value.left, named, depth), _number(value.right, named, depth)
        return None if left is None or right is None else _COMPUTED[type(value.op)](left, right)
    return None


def _word(value: ast.expr) -> str:
    """A name for what is put in: the last name in an expression that is one, in capitals."""
    while True:
        if isinstance(value, ast.Call) and _called(value) in _PLAIN and value.args:
            value = value.args[0]
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            value = value.func.value if not isinstance(value.func.value, ast.Constant) else value.func
            if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Constant):
                return "…"
        elif isinstance(value, ast.Subscript | ast.Starred):
            value = value.value
        else:
            break
    name = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
    if name in _MODULES:
        return "…"
    return _VOWELS.sub("-", name).strip("-").upper() or "…"


def _called(value: ast.Call) -> str:
    return value.func.id if isinstance(value.func, ast.Name) else getattr(value.func, "attr", "")
