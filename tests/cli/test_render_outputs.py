"""Several outputs have a row each, one has no table of its own."""

from types import SimpleNamespace
from typing import Any

import pytest

from hnexport.cli.render_outputs import print_outputs


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def artifact(name: str, *, wrong: str = "", outputs: tuple[str, ...] = ("logits", "width")) -> SimpleNamespace:
    """Two members; the second is wrong in one output."""
    return SimpleNamespace(
        artifact=name,
        comparisons=tuple(
            SimpleNamespace(
                member=member,
                outputs=tuple(
                    SimpleNamespace(
                        output=output,
                        relative_l2=2e-2 if output == wrong and member else 3e-7,
                        multiple_of_eager=1.2,
                        worst_absolute=1e-6,
                        top1_agreement=1.0 if output == "logits" else None,
                        passed=output != wrong or not member,
                    )
                    for output in outputs
                ),
            )
            for member in (0, 1)
        ),
    )


def report(*artifacts: SimpleNamespace, **fields: Any) -> SimpleNamespace:
    return SimpleNamespace(artifacts=artifacts, **fields)


def test_several_outputs_have_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_outputs(report(artifact("onnx"), artifact("pt2", wrong="width")))
    rows = [row for row in capsys.readouterr().out.splitlines() if "logits" in row or "width" in row]
    assert ["same" in row for row in rows] == [True, True, True, False]
    assert "2.0e-02" in rows[3]
    assert "DIFFERENT" in rows[3]
    assert "100%" in rows[0]
    assert "100%" not in rows[1]


def test_one_output_has_no_table_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_outputs(report(artifact("onnx", outputs=("logits",)), SimpleNamespace(artifact="a", comparisons=())))
    assert capsys.readouterr().out == ""
