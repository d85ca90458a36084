"""The table of docs/howto/evaluate.md: how it is made, and what it says."""

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from digits import TrainedDigits, splits
from shared import built_kind

ROOT = Path(__file__).parents[1]
SOURCES = {
    "float64",
    "runtime",
    "onnx",
    "onnx-materialised",
    "torchscript",
    "pt2",
    "onnx-ensemble",
    "torchscript-ensemble",
}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module("digits_table")
    del sys.modules["digits_table"]


def cells(text: str, column: str) -> dict[str, str]:
    """A column of the first table, by source."""
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    rows = table[2 : table.index(next(row for row in table if row[0].startswith("AUROC")))]
    # trailing empty cells are stripped with the bars
    return {row[0]: row[table[0].index(column)] for row in rows if len(row) == len(table[0])}


def test_the_tables_are_made_of_evaluations_and_replace_those_of_the_last_time(
    tool: ModuleType, tmp_path: Path
) -> None:
    bundle, tested = built_kind("digits", TrainedDigits()).path, splits()[2]
    found = tool.measured(bundle, "input", tested.images, tested.labels, tmp_path)
    assert {source.name for source in found.sources.sources} >= SOURCES
    assert tool.wrong(found.sources) == []  # float32 agrees in every answer
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n")
    text = f"{tool.sources_table(found.sources)}\n\n{tool.others_table(found)}"
    tool.write(page, text)
    tool.write(page, text)
    assert page.read_text() == f"before\n{tool.BEGIN}\n{text}\n{tool.END}\nafter\n"
    assert set(cells(text, "answers changed").values()) == {"0"}
    accuracy = found.sources.sources[1].classification.ensemble.accuracy
    assert cells(text, "ensemble")["runtime"] == f"{accuracy:.4f}"
    first, *others = found.others.values()
    assert first is found.sources
    assert all(0.5 < one.sources[0].classification.ood["entropy"].auroc < 1 for one in (first, *others))


def test_an_answer_that_changed_is_told(tool: ModuleType, tmp_path: Path) -> None:
    bundle, tested = built_kind("digits", TrainedDigits()).path, splits()[2]
    np.savez(tmp_path / "test.npz", input=tested.images[:20], label=tested.labels[:20])
    asked = tool.EvaluateOptions(artifacts=("onnx",), provider="cpu")
    found = tool.evaluate(bundle, tmp_path / "test.npz", options=asked)
    *same, last = found.sources
    other = dataclasses.replace(last, difference=dataclasses.replace(last.difference, answers=2))
    changed = dataclasses.replace(found, sources=(*same, other), not_run={"pt2": "it is missing"})
    assert tool.wrong(changed) == [
        "onnx: 2 answers of members and 0 of the ensemble are others than those of float64",
        "not run: pt2: it is missing",
    ]


def test_the_page_of_the_documentation_has_the_tables_and_no_answer_that_changed(tool: ModuleType) -> None:
    text = (ROOT / "docs/howto/evaluate.md").read_text()
    assert text.count(tool.BEGIN) == text.count(tool.END) == 1
    written = text.split(tool.BEGIN)[1].split(tool.END)[0]
    changed = cells(written, "answers changed")
    assert set(changed) >= SOURCES - {"float64"}
    assert set(changed.values()) == {"0"}
    assert set(cells(written, "ensemble").values()) == {"0.9940"}
