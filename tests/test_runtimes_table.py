"""The table of runtimes: its modules are importable without any runtime, and a row replaces only its own line."""

import contextlib
import importlib
import os
import select
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("runtimes", "runtimes_check")]:
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


def test_what_a_machine_lacks_is_left_out_and_everything_else_fails_the_check(tmp_path):
    check, runtime = importlib.import_module("runtimes_check"), importlib.import_module("runtimes.runtime").Runtime
    stage = importlib.import_module("runtimes.stage").Stage(bundle=tmp_path, plain=tmp_path, fixed=tmp_path)

    def said(**options):
        return check.found("one", runtime(name="one", file="model.onnx", **options), stage, tmp_path / "work")

    lacking = said(tools=("no-such-compiler",))
    assert (lacking, check.is_right(lacking)) == ("not run: no no-such-compiler here", True)
    broken = said(prepare=(("bash", "-c", "echo error: it broke >&2; exit 3"),))
    assert (broken, check.is_right(broken)) == ("failed: error: it broke", False)
    without_samples = said()
    assert not check.is_right(without_samples)
    assert check.is_right("not run: pip cannot install ray: ERROR: No matching distribution found for ray")
    assert not check.is_right("not run: pip cannot install ray: ERROR: ResolutionImpossible")
    assert not check.is_right("different: 2.0e-05 from float64, the limit is 1e-05")


def test_a_command_that_hangs_ends_with_everything_that_it_started(tmp_path):
    commands = importlib.import_module("runtimes.commands")
    started = tmp_path / "started"
    script = f"sleep 600 & echo $! > {started}; wait"
    with pytest.raises(commands.NotRunError, match="timed out"):
        commands.run(["bash", "-c", script], limit_s=5)
    with contextlib.suppress(ProcessLookupError):
        left = os.pidfd_open(int(started.read_text()))
        assert select.select([left], [], [], 60)[0], "it goes on"


def test_the_check_runs_known_runtimes():
    check = importlib.import_module("runtimes_check")
    assert set(check.EXPECTED) <= set(importlib.import_module("runtimes.known").NAMES)
