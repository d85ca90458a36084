"""Which options of which commands the tests type: read out of their source, without running them.

An option belongs to the command whose name stands in the smallest call, list or tuple around it. A name stands for what
it was assigned, and for what a function or fixture of that name types: `evaluate("--wide")` is the command of the
fixture `evaluate`. An option that stands in no such expression (it is a parameter of the test) counts for every command
of its test: there the reading is too kind.
"""

import ast
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

__all__ = ["every_option", "typed_in"]

_OPTION = re.compile(r"--[a-z][a-z-]*(?=$|=)")
Pairs = set[tuple[str, str]]


def every_option(group: click.Group, path: tuple[str, ...] = ()) -> Pairs:
    """Every command, in its words, with each of its long options."""
    context = click.Context(group)
    found: Pairs = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= every_option(command, (*path, name))
        elif command is not None:
            words = " ".join((*path, name))
            options = [one for one in command.params if isinstance(one, click.Option)]
            texts = [text for one in options for text in (*one.opts, *one.secondary_opts)]
            found |= {(words, text) for text in texts if text.startswith("--")}
    return found


def typed_in(paths: Iterable[Path], commands: Collection[str]) -> Pairs:
    """What the tests in some files type."""
    modules, everywhere = [], dict[str, ast.AST]()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        shared = path.name == "conftest.py" or "support" in path.parts
        if shared or re.search(r"""["' ]--[a-z]""", text):
            modules.append(ast.parse(text))
            everywhere |= _defined(modules[-1]) if shared else {}
    everywhere.pop("hnexport", None)  # the fixture that runs whatever command it is given
    last = {name.split()[-1]: name for name in commands}
    found: Pairs = set()
    for module in modules:
        reader = _Reader(commands=last, names={**everywhere, **_defined(module)})
        for node in module.body:
            reader.read(node, whole=True)
        found |= reader.found
    return found


def _defined(module: ast.Module) -> dict[str, ast.AST]:
    """Functions, fixtures and constants of a module."""
    found: dict[str, ast.AST] = {}
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    return found


@dataclass
class _Reader:
    """Reads one module.

    Attributes:
        commands: by the last of their words.
        names: what functions and constants are, wherever they are defined.
    """

    commands: Mapping[str, str]
    names: Mapping[str, ast.AST]
    found: Pairs = field(default_factory=set)
    _known: dict[str, tuple[set[str], set[str]]] = field(default_factory=dict)

    def read(self, node: ast.AST, *, whole: bool = False) -> tuple[set[str], set[str]]:
        """The options that belong to nothing yet, and the commands that are named."""
        options, named = self._own(node)
        for child in ast.iter_child_nodes(node):
            more, further = self.read(child)
            options |= more
            named |= further
        if named and options and (whole or isinstance(node, ast.Call | ast.List | ast.Tuple)):
            self.found |= {(command, option) for command in named for option in options}
            options = set()
        return options, named

    def _own(self, node: ast.AST) -> tuple[set[str], set[str]]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split() if len(node.value) < 300 else []
            matches = [_OPTION.match(word) for word in words]
            named = {self.commands[word] for word in words if word in self.commands}
            return {match[0] for match in matches if match}, named if len(words) == 1 or words[:1] == [
                "hnexport"
            ] else set()
        used = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else None
        if used is None or used not in self.names:
            return set(), set()
        if used not in self._known:
            self._known[used] = set(), set()  # of one that uses itself
            self._known[used] = self.read(self.names[used])
        options, named = self._known[used]
        return set(options), set(named)
