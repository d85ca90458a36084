"""docs/reference/environment.md names every environment variable."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import hnexport

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "environment.md"
_ENVIRONMENT = re.compile(r"(?<![\"'\w])(environb?|getenvb?|putenv)\b")
_NAME = re.compile(r"_?[A-Z][A-Z0-9_]{3,}")


def variables(source: str) -> Iterator[str]:
    """Texts that look like the name of one, in every function and statement that speaks of the environment.

    Constants of the module that are named there count as if they stood there.
    """
    module = ast.parse(source)
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    statements = [node for node in module.body if not isinstance(node, kinds)]
    constants = {
        target.id: node.value
        for node in statements
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for scope in (*functions, *statements):
        if _ENVIRONMENT.search(ast.unparse(scope)):
            names = [node.id for node in ast.walk(scope) if isinstance(node, ast.Name) and node.id in constants]
            parts = [scope, *(constants[name] for name in names)]
            texts = [node.value for part in parts for node in ast.walk(part) if isinstance(node, ast.Constant)]
            yield from (text for text in texts if isinstance(text, str) and _NAME.fullmatch(text))


def test_every_variable_that_the_package_reads_or_sets_is_on_the_page() -> None:
    page, files = PAGE.read_text(encoding="utf-8"), Path(hnexport.__file__).parent.rglob("*.py")
    found = {name for path in files for name in variables(path.read_text(encoding="utf-8"))}
    assert "XDG_CACHE_HOME" in found
    assert sorted(name for name in found if f"`{name}" not in page) == []


def test_every_variable_of_ours_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    folders = ("hnexport", "tests", "tools", ".ci", ".github")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yml", "")]
    texts = [
        path.read_text(encoding="utf-8", errors="ignore") for path in [*files, ROOT / "Makefile"] if path.is_file()
    ]
    found = {name for text in texts for name in re.findall(r"\b_?HNEXPORT_[A-Z_]*[A-Z]\b", text)}
    assert sorted(name for name in found if f"`{name}" not in page) == []


def test_reading_and_setting_are_found_and_nothing_else() -> None:
    source = """
import os
def f():
    kept = ("PATH_OF_IT", "lower")
    return os.environ.get("A_HOME"), {**{name: os.environ[name] for name in kept}, "SET_IT": "1"}
def g():
    return "NOT_ONE"
"""
    assert sorted(variables(source)) == ["A_HOME", "PATH_OF_IT", "SET_IT"]
    for other in (
        'from os import environ\ndef f(): return environ["A_HOME"]',
        'from os import getenv\nHOME = getenv("A_HOME")',
        'import os as system\nasync def f(): system.environ.get("A_HOME")',
        '_KEY = "A_HOME"\ndef f(): return os.environ.get(_KEY)',
        'if "A_HOME" in os.environ: pass',
    ):
        assert set(variables(other)) == {"A_HOME"}, other
