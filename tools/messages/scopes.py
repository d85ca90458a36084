"""Scopes of a module, and what names stand for in them."""

import ast
from collections.abc import Iterable, Iterator

__all__ = ["Function", "last", "scopes", "texts"]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def last(value: ast.expr) -> str:
    """The last name of `a.b.Name`."""
    return value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")


def scopes(tree: ast.Module) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
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


def texts(nodes: Iterable[ast.AST]) -> dict[str, ast.expr]:
    """Names that are given a value once."""
    found: dict[str, ast.expr] = {}
    twice = set()
    for node in nodes:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        target = node.target if isinstance(node, ast.NamedExpr) else target
        if isinstance(node, ast.Assign | ast.NamedExpr) and isinstance(target, ast.Name):
            twice |= {target.id} & set(found)
            found[target.id] = node.value
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            twice.add(node.target.id)
    return {name: value for name, value in found.items() if name not in twice}
