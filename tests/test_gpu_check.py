"""The GPU script, rehearsed on the CPU: what needs no GPU in it runs, so that a lease is not spent on a slip."""

import importlib.util
import math
from pathlib import Path

import pytest

from hnexport.bundle import read_golden
from hnexport.parity import Precision

TOOL = Path(__file__).parents[1] / "tools" / "gpu_check.py"


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu_check", TOOL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "gpu_check", module)  # dataclasses look it up
    spec.loader.exec_module(module)
    for name, value in {"BATCHES": (1, 2), "REPEATS": 2, "BENCH_SECONDS": 0.0}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_every_timed_check_runs_and_computes_what_it_times(tool, built):
    found = list(tool.rows(tool.timed_checks(built.path, read_golden(built.path), "cpu")))
    assert [row for row in found if row.passed is False] == []
    names = " ".join(row.check for row in found)
    for word in ("generated, IOBinding", "materialised, CUDA graph", "float16 graph", "model.pt2", "bench, float32"):
        assert word in names
    for row in found:
        assert len(row.milliseconds) == 2
        assert all(math.isfinite(time) and time > 0 for time in row.milliseconds)
    errors = {row.check: row.error for row in found if row.error is not None}
    assert 1e-5 < errors.pop("generated, float16 graph") < 2e-2
    assert max(errors.values()) < 1e-5


def test_a_wrong_member_fails_its_row(tool, built):
    golden = read_golden(built.path)
    shifted = type(golden)(**{**vars(golden), "logits": golden.logits[[1, 2, 0]]})
    row = tool.runtime_row(built.path, shifted, tool.SETTINGS[0], "cpu")
    assert row.passed is False


def test_parity_rows_carry_the_verdict(tool, built):
    row = tool.parity_row("onnx, here", built.path, "onnx", "cpu", Precision.FLOAT32)
    assert row.passed
    assert row.error < 1e-5


def test_a_check_that_raises_is_a_row_and_the_others_go_on(tool):
    def broken():
        raise OSError("no such device")

    found = list(tool.rows([("first", broken), ("second", lambda: tool.Row(check="second", passed=True))]))
    assert [(row.check, row.passed) for row in found] == [("first", False), ("second", True)]
    assert "no such device" in found[0].detail


def test_every_format_and_precision_has_a_parity_check(tool, built):
    names = [name for name, _ in tool.parity_checks(built.path)]
    for artifact in ("onnx", "onnx-materialised", "torchscript", "pt2"):
        assert f"{artifact}, CUDA, float32" in names
        assert f"{artifact}, CUDA, tf32" in names
    assert "TF32 forbidden by the driver" in names
