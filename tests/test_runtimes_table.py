"""The table of runtimes: its modules are importable without any runtime, and a row replaces only its own line."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from bundles import small_bundle

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


class Wrong:
    """A runtime of which every part is in this process, with a fault."""

    def __init__(self, monkeypatch, stage, fault):
        self.measured = importlib.import_module("runtimes.measured")
        self.runtime = importlib.import_module("runtimes.runtime").Runtime(name="a runtime", file="model.onnx")
        self.stage, self.fault = stage, fault
        monkeypatch.setattr(self.measured.Attempt, "predict", lambda _, golden, ids, members: self.predict(golden, ids))
        monkeypatch.setattr(self.measured.Attempt, "measure", lambda _: {"version": "1.0"})

    def predict(self, golden, ids):
        drive = importlib.import_module("runtimes.drive")
        session = onnxruntime.InferenceSession(self.stage.bundle / "model.onnx", providers=["CPUExecutionProvider"])
        drive.predict(
            lambda cond_id, image: self.fault(session.run(None, {"cond_id": cond_id, "image": image})), golden, None
        )

    def row(self, folder):
        return self.measured.measured_row("known", self.runtime, self.stage, folder / "work", folder / "environments")


def crash(_):
    raise importlib.import_module("runtimes.commands").FailedError("Segmentation | fault")


FAULTS = {
    "none": (lambda outputs: outputs, False, r"\| \d\.\de-07 \|"),
    "a little off": (lambda outputs: [1.0001 * outputs[0]], True, r"\*\*1\.0e-04\*\*"),
    "NaN": (lambda outputs: [outputs[0] * np.float32(np.nan)], True, r"\*\*inf\*\*"),
    "a row short": (lambda outputs: [outputs[0][:-1]], True, r"failed: .*expected"),
    "a crash": (crash, True, r"failed: Segmentation / fault"),
}


@pytest.mark.parametrize(("fault", "wrong", "shown"), FAULTS.values(), ids=FAULTS.keys())
def test_a_runtime_that_is_wrong_or_fails_is_shown_as_such(fault, wrong, shown, tmp_path, monkeypatch):
    stage, page = importlib.import_module("runtimes.stage"), importlib.import_module("runtimes.page")
    bundle = small_bundle("hypernet")
    row = Wrong(monkeypatch, stage.Stage(bundle=bundle, plain=bundle, fixed=bundle), fault).row(tmp_path)
    assert row.wrong is wrong
    assert re.search(shown, page.line(row))
