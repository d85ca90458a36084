"""What `verify` and `build` say beside the parity table."""

from types import SimpleNamespace

import pytest

from hnexport.cli.render_probed import failed_claims, print_outputs, print_probed, sample_word


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def artifact(name, *, wrong="", outputs=("logits", "width")):
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


def report(*artifacts, **fields):
    return SimpleNamespace(artifacts=artifacts, **fields)


def test_several_outputs_have_a_row_each(capsys):
    print_outputs(report(artifact("onnx"), artifact("pt2", wrong="width")))
    rows = [row for row in capsys.readouterr().out.splitlines() if "logits" in row or "width" in row]
    assert ["same" in row for row in rows] == [True, True, True, False]
    assert "2.0e-02" in rows[3]
    assert "DIFFERENT" in rows[3]
    assert "100%" in rows[0]
    assert "100%" not in rows[1]


def test_one_output_has_no_table_of_its_own(capsys):
    print_outputs(report(artifact("onnx", outputs=("logits",)), SimpleNamespace(artifact="a", comparisons=())))
    assert capsys.readouterr().out == ""


def test_what_was_probed_is_said(capsys):
    found = report(
        ranges={"image": (-1e4, 1e4)}, ill_conditioned={"logits: constant": 3e-6}, left_out=("extreme",), seed=17
    )
    print_probed(found)
    shown = capsys.readouterr().out
    assert "probed: image -10000 to 10000" in shown
    assert "ill-conditioned: logits: constant, float32 itself may lose 3.0e-06" in shown
    assert "no finite answer: extreme" in shown
    assert "members drawn with --seed 17" in shown


def test_many_ill_conditioned_kinds_are_counted(capsys):
    print_probed(report(ill_conditioned={f"logits: kind {n}": n * 1e-7 for n in range(9)}))
    shown = capsys.readouterr().out
    assert "kind 8" in shown
    assert "kind 2," not in shown
    assert "ill-conditioned: 3 more (--json)" in shown


def test_claims_that_are_not_confirmed_are_named(capsys):
    claims = (
        SimpleNamespace(name="figures", passed=False, detail="onnx says 1e-9"),
        SimpleNamespace(name="digest", passed=True, detail=""),
    )
    found = report(claims=claims)
    assert failed_claims(found) == claims[:1]
    print_probed(found)
    assert capsys.readouterr().out == "FAILED figures: onnx says 1e-9\n"


@pytest.mark.parametrize(("inputs", "word"), [(("image",), "image"), ((), "image"), (("tokens", "image"), "sample")])
def test_samples_are_images_where_the_only_input_is_one(inputs, word):
    assert sample_word(report(ranges=dict.fromkeys(inputs, (0.0, 1.0)))) == word


def test_a_report_of_an_earlier_version_says_nothing_of_this(capsys):
    print_probed(report())
    assert capsys.readouterr().out == ""
