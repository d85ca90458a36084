"""`tools/gpu_check.py` where there is no GPU: the same functions on the CPU, so that no typo waits for a GPU."""

import importlib.util
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fixture_types import AskedSessions
from shared import Built

from hnexport.parity.tolerances import Precision
from hnexport.runtime import CudaOptions
from hnexport.tune import halve


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "gpu_check.py"
    spec = importlib.util.spec_from_file_location("gpu_check", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_check"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _quick(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "BATCHES", (1, 3))
    monkeypatch.setattr(tool, "REPEATS", 2)
    monkeypatch.setattr(tool, "LISTS", ("cnn",))
    monkeypatch.setattr(tool, "EPOCHS", 1)
    monkeypatch.setattr(tool, "ON_DIGITS", ("onnx",))


@pytest.fixture
def task(tool: ModuleType, built: Built) -> Any:
    return tool.Task(bundle=built.path, provider="cpu", seconds=0.0, deadline=math.inf)


@pytest.mark.thorough
def test_the_whole_table_on_the_cpu(
    tool: ModuleType, built: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.json"
    arguments = ["gpu_check.py", str(built.path), "--provider", "cpu", "--seconds", "0", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert tool.main() == 0
    printed = capsys.readouterr().out
    table = json.loads(out.read_text())
    rows = {row["check"]: row for row in table["rows"]}
    assert table["bundle"] == built.manifest.name
    assert all(f"| {name} |" in printed for name in rows)
    made = {name for name, row in rows.items() if row["passed"]}
    assert made == {
        "verify onnx, cpu, float32",
        "float32: plain network",
        "float32: generated",
        "float32: materialised",
        "float32: generated, by session.run",
        "float32: mean of 3 members, materialised",
        "cnn list: verify onnx, cpu, float32",
        "cnn list: verify onnx-materialised, cpu, float32",
        "cnn list: verify torchscript, cpu, float32",
        "cnn list: verify pt2, cpu, float32",
        "digits: float64",
        "digits: runtime",
        "digits: onnx",
        "model.pt, PyTorch, float32",
        "model.pt2, PyTorch, float32",
        "verify onnx, TF32 forbidden by the driver",
        "verify onnx-materialised, cpu, float32",
        "verify torchscript, cpu, float32",
        "verify pt2, cpu, float32",
    }
    assert all(rows[name]["detail"] == "not run: needs the provider cuda" for name in set(rows) - made)
    digits = {name for name in made if name.startswith("digits")}
    assert all("0 answers changed" in rows[name]["detail"] for name in digits)
    for name in made - {"float32: plain network"} - digits:
        assert rows[name]["error"] < 1e-5
    for name in ("float32: generated", "float32: materialised"):
        assert len(rows[name]["milliseconds"]) == len(rows[name]["ratios"]) == 2
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in lines} == {6 - 1}  # six columns with two batch sizes


@pytest.mark.thorough
def test_a_bundle_is_built_where_none_is_given(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        tool, "rows", lambda task, wanted: iter([tool.Row(check="one", passed=False, detail="a\nreason")])
    )
    arguments = ["gpu_check.py", "--provider", "cpu", "--network", "wrn-10-1", "--members", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert tool.main() == 1
    printed = capsys.readouterr().out
    assert "bundle: wrn-10-1-hypernet-2" in printed
    assert "| one | NO |  |  |  | a reason |" in printed


def test_a_check_that_raises_is_a_row_and_the_rest_is_made(tool: ModuleType, task: int) -> None:
    def broken() -> Iterator[Any]:
        yield tool.Row(check="half", passed=True)
        raise RuntimeError("CUDA failure 2: out of memory")

    wanted = [
        tool.Check(name="broken", make=broken),
        tool.Check(name="no GPU", make=broken, obstacle="there is none"),
        tool.Check(name="sound", make=lambda: tool.Row(check="sound", passed=True)),
    ]
    assert [(row.check, row.passed, row.detail) for row in tool.rows(task, wanted)] == [
        ("half", True, ""),
        ("broken", False, "RuntimeError: CUDA failure 2: out of memory"),
        ("no GPU", None, "not run: there is none"),
        ("sound", True, ""),
    ]


def test_a_check_for_which_no_time_is_left_is_not_begun(tool: ModuleType, built: Built) -> None:
    late = tool.Task(bundle=built.path, provider="cpu", seconds=0.0, deadline=time.monotonic() - 1)
    rows = list(tool.rows(late))
    assert len(rows) > 20
    assert {row.passed for row in rows} == {None}
    assert "not run: no time was left" in {row.detail for row in rows}


def test_every_setting_loads_and_is_judged_by_its_own_tolerance(
    tool: ModuleType, built: Built, pretend_cuda: AskedSessions
) -> None:
    task = tool.Task(bundle=built.path, provider="cuda", seconds=0.0, deadline=0.0)
    halve(built.path)
    asked = set()
    for setting in tool.SETTINGS:
        for strategy in ("generated",) if setting.precision == "float16" else ("generated", "materialised"):
            error, limit = tool.load_error(task, setting, strategy)
            assert error < limit
        asked.add((setting.precision, setting.cuda or CudaOptions()))
        settings = (setting.cuda or CudaOptions()).provider_options(tf32=setting.precision == "tf32")
        assert pretend_cuda[-1][1] == settings
    assert len(asked) == len(tool.SETTINGS)


@pytest.mark.parametrize("precision", [Precision.TF32, Precision.FLOAT16])
@pytest.mark.parametrize("file", ["model.pt", "model.pt2"])
def test_pytorch_is_judged_by_the_precision(tool: ModuleType, task: int, file: str, precision: Precision) -> None:
    row = tool.torch_row(task, file, precision)
    assert row.passed
    assert (row.error > 1e-5) == (precision is Precision.FLOAT16)


@pytest.mark.cuda
def test_the_table_on_a_gpu(tool: ModuleType, built: Built) -> None:
    task = tool.Task(bundle=built.path, provider="cuda", seconds=0.0, deadline=math.inf)
    failed = [(row.check, row.detail) for row in tool.rows(task) if row.passed is False]
    assert failed == []
