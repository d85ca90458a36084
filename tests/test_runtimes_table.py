"""The table of runtimes: its modules are importable without any runtime, and a row replaces only its own line."""

import importlib
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "runtimes"]:
        del sys.modules[name]


def test_every_module_is_known_and_names_a_runtime_of_its_own():
    known = importlib.import_module("runtimes.known").NAMES
    runtimes = [importlib.import_module(f"runtimes.{name}").RUNTIME for name in known]
    assert len({runtime.name for runtime in runtimes}) == len(known)
    found = {path.stem for path in (TOOLS / "runtimes").glob("*.py") if "RUNTIME = " in path.read_text()}
    assert found == set(known)


def test_a_row_replaces_its_own_line_and_keeps_the_others(tmp_path):
    page, row = importlib.import_module("runtimes.page"), importlib.import_module("runtimes.runtime").Row
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\n{page.END}\nafter\n")
    order = ["one", "two"]
    page.write(path, [row(name="two", file="model.onnx", error=2e-7, remark="slow")], order)
    page.write(path, [row(name="one", file="model.onnx", failure="not run: no GPU")], order)
    page.write(path, [row(name="two", file="model.onnx", error=3e-5)], order)
    lines = path.read_text().splitlines()
    rows = [line for line in lines if line.startswith(("| one", "| two"))]
    assert [line.split("|")[1].strip() for line in rows] == order
    assert "not run: no GPU" in rows[0]
    assert "**3.0e-05**" in rows[1]
    assert (lines[0], lines[-1]) == ("before", "after")
