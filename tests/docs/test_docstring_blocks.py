"""Python in docstrings, which the API's pages show: it compiles, and names only what hnexport has."""

import ast
import builtins
import importlib
import itertools
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import hnexport

ROOT = Path(__file__).parents[2]
PACKAGE = Path(hnexport.__file__).parent
BEGIN = ".. code-block:: "
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.fixture(autouse=True)
def extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "docs/extensions"))
    yield
    sys.modules.pop("docstring_code", None)


def blocks(docstring: str) -> Iterator[str]:
    """The Python of a docstring, as `make docs` finds it."""
    marked = importlib.import_module("docstring_code").marked(docstring.split("\n"))
    for is_code, lines in itertools.groupby(marked, key=lambda pair: pair[0]):
        if is_code:
            first, *code = [line for _, line in lines]
            if first.strip() == f"{BEGIN}python":
                yield textwrap.dedent("\n".join(code))


def unknown(code: str, module: str) -> list[str]:
    """What a block imports from hnexport or asks of its modules, or calls, and what is nowhere."""
    tree = ast.parse(code)
    held: dict[str, object] = {}
    wrong: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hnexport"):
            source = importlib.import_module(node.module or "")
            for alias in node.names:
                held[alias.asname or alias.name] = getattr(source, alias.name, None)
                if not hasattr(source, alias.name):
                    wrong.append(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            held |= {alias.asname or alias.name: importlib.import_module(alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            known = node.func.id in held or hasattr(importlib.import_module(module), node.func.id)
            if not known and not hasattr(builtins, node.func.id):
                wrong.append(node.func.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named = held.get(node.value.id)
            if getattr(named, "__name__", "").startswith("hnexport") and not hasattr(named, node.attr):
                wrong.append(f"{node.value.id}.{node.attr}")
    return wrong


def test_python_in_docstrings_names_what_there_is() -> None:
    found = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for code in blocks(ast.get_docstring(node) or "") if isinstance(node, DOCUMENTED) else ():
                found += 1
                compile(code, str(path), "exec")
                assert not unknown(code, module), path
    assert found >= 4


def test_what_a_docstring_names_and_is_nowhere_is_found() -> None:
    (code,) = blocks(
        "A text.\n\n    from hnexport.runtime import gone, load\n    lod('x')\n\nMore.\n\n    hnexport a --b"
    )
    assert unknown(code, "hnexport.score") == ["hnexport.runtime.gone", "lod"]
    assert unknown("import hnexport.runtime as r\nr.load('x')\nr.lod('x')", "hnexport.score") == ["r.lod"]
