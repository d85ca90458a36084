"""Small changes of our sources, by cosmic-ray's operators: a random sample of places, one change at each."""

import ast
import collections
import difflib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

# `is` for `==` changes nothing where values are small numbers or members of an enumeration, as ours mostly are.
_LEFT_OUT = ("_Is", "_IsNot")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A changed module.

    Attributes:
        package: what it was sampled of.
        path: the module, from the checkout's root.
        lines: the lines, from 1, that the change is in.
        operator: cosmic-ray's name of the change.
        text: the module's text with the change.
        difference: the change, for people.
    """

    package: str
    path: Path
    lines: range
    operator: str
    text: str = field(repr=False)
    difference: str = field(repr=False)

    @property
    def place(self) -> str:
        """`module.py:line`."""
        return f"{self.path}:{self.lines.start}"


def sampled(root: Path, package: Path, count: int, seed: int) -> list[Mutant]:
    """Draw places, all alike, and one of the changes that fit each; what stands in annotations is no place.

    Args:
        root: the checkout.
        package: a folder or a module, from the root.
        count: how many, at most: there may be fewer places.
        seed: the same one draws the same places in the same sources.

    Raises:
        RuntimeError: cosmic-ray makes no change where it said it would.
    """
    draw = random.Random(f"{package} {seed}")  # noqa: S311
    files = [root / package] if (root / package).is_file() else sorted((root / package).rglob("*.py"))
    texts = {path.relative_to(root): path.read_text(encoding="utf-8") for path in files}
    places = [(path, *place) for path, text in texts.items() for place in sorted(_places(text).items())]
    mutants: list[Mutant] = []
    for path, (start, end), changes in draw.sample(places, len(places)):
        if len(mutants) == count:
            break
        operator, occurrence = draw.choice(changes)
        before = texts[path]
        after = mutate_code(before, get_operator(operator)(), occurrence)
        if after is None:
            raise RuntimeError(f"{path}:{start[0]}: {operator} changes nothing")
        if not _is_python(after):  # cosmic-ray takes the star before keyword arguments for a product
            continue
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=1)
        mutants.append(
            Mutant(
                package=str(package),
                path=path,
                lines=range(start[0], end[0] + 1),
                operator=operator.removeprefix("core/"),
                text=after,
                difference="\n".join(lines),
            )
        )
    return mutants


_Place = tuple[tuple[int, int], tuple[int, int]]


def _places(text: str) -> dict[_Place, list[tuple[str, int]]]:
    """The changes that fit each place (line and column of its ends): operator, and its occurrence in the module."""
    tree, annotations = get_ast(text), _annotations(text)
    places: dict[_Place, list[tuple[str, int]]] = collections.defaultdict(list)
    for name, operator in _operators():
        occurrence = 0
        for node in ast_nodes(tree):
            for start, end in operator.mutation_positions(node):
                if not any(first <= start and end <= last for first, last in annotations):
                    places[start, end].append((name, occurrence))
                occurrence += 1
    return places


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _operators() -> Iterator[tuple[str, Operator]]:
    for name in operator_names():
        operator = get_operator(name)
        if not operator.arguments() and not name.endswith(_LEFT_OUT):
            yield name, operator()


def _annotations(text: str) -> list[_Place]:
    found = []
    for node in ast.walk(ast.parse(text)):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(annotation, ast.expr):
                end = (annotation.end_lineno or annotation.lineno, annotation.end_col_offset or annotation.col_offset)
                found.append(((annotation.lineno, annotation.col_offset), end))
    return found
