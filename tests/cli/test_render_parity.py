"""The table that `build` and `verify` end with: what decides is whole, and one sentence says the verdict."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from shared import Built

from hnexport.cli.render_parity import print_member_parity, print_parity
from hnexport.parity import TOLERANCES, ArtifactReport, Check, Comparison, ParityReport, Precision, Selection
from hnexport.parity import verify as verify_bundle
from hnexport.parity.not_run import remarks
from hnexport.parity.signature_report import OWN_SIGNATURE
from hnexport.parity.verify import VerifyOptions
from hnexport.spelling import in_command

NAMES = ("onnx", "onnx-materialised", "torchscript", "pt2", "onnx-ensemble", "torchscript-ensemble")


def artifact(name: str, members: range, *, wrong: Any = (), check: bool = True, error: float = 2e-2) -> ArtifactReport:
    comparisons = tuple(
        Comparison(
            member=member,
            worst_absolute=7.6e-6,
            relative_l2=error if member in wrong else 8.1e-7,
            multiple_of_eager=23.9 if member in wrong else 1.6,
            top1_agreement=1.0,
            margin=800.0,
            passed=member not in wrong,
        )
        for member in members
    )
    checks = (Check(name="ids that do not exist give NaN", passed=check, detail="found numbers"),)
    runtime = "torch 2.13.0+cu130 cuda" if "torch" in name or name == "pt2" else "onnxruntime 1.31.1 cpu"
    return ArtifactReport(
        artifact=name,
        runtime=runtime,
        comparisons=comparisons,
        checks=checks,
        ensemble_error=2.4e-7,
        repeat_spread=0.0,
    )


def report(
    members: int = 10,
    compared: Iterable[int] | None = None,
    selection: Selection = Selection.ALL,
    **changes: Any,
) -> ParityReport:
    chosen = tuple(range(members)) if compared is None else tuple(compared)
    fields = {
        "artifacts": tuple(artifact(name, chosen) for name in NAMES),
        "not_run": {},
        "refused": {},
        **changes,
    }
    return ParityReport(
        bundle="tiny",
        members=members,
        members_checked=chosen,
        selection=selection,
        batch_sizes=(1, 3, 6),
        image_kinds=("noise",) * 6,
        precision=Precision.FLOAT32,
        tolerance=TOLERANCES[Precision.FLOAT32],
        eager=(3e-7,) * len(chosen),
        environment={},
        **fields,
    )


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def show(found: ParityReport, width: int = 80, **options: Any) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        print_member_parity(found)
        print_parity(found, **options)
        return capsys.readouterr().out

    return show


OTHER_NAMES = Check(name=OWN_SIGNATURE, passed=False, detail="no output is called logits")

CASES = {
    "ten members": (report(), "Same: 10 members in 6 artifacts agree with PyTorch"),
    "one member": (report(1), "Same: 1 member in 6 artifacts agrees with PyTorch"),
    "a sample": (
        report(1000, range(0, 64, 2), Selection.SAMPLED),
        "Same: 32 of 1000 members (a seeded sample) in 6 artifacts agree",
    ),
    "named": (report(10, (2, 7), Selection.NAMED), "Same: 2 of 10 members (as named) in 6 artifacts agree"),
    "different": (
        report(artifacts=(artifact("onnx", range(10)), artifact("pt2", range(10), wrong=(3, 4)))),
        "Different: pt2 departs from PyTorch for 2 of 10 members, most for member 3 (error 2.0e-02, the limit 1e-05). "
        "To see where it begins: hnexport locate 'my bundle' --against pt2",
    ),
    "beyond eager's": (
        report(artifacts=(artifact("onnx", range(10), wrong=(1,), error=7.1e-6),)),
        "Different: onnx departs from PyTorch for 1 of 10 members, most for member 1 (error 7.1e-06, 23.9 times what "
        "float32 eager loses, the limit 4). To see where",
    ),
    "a check": (
        report(artifacts=(artifact("onnx-materialised", range(10), check=False),)),
        "Different: onnx-materialised fails a check (ids that do not exist give NaN). To keep the failing cases: "
        "hnexport verify 'my bundle' --runtimes onnx-materialised --save-failure failures",
    ),
    "a signature": (
        report(artifacts=(dataclasses.replace(artifact("onnx", range(10), wrong=range(10)), checks=(OTHER_NAMES,)),)),
        "Different: onnx has another signature than its bundle says (no output is called logits).",
    ),
    "refused": (
        report(artifacts=(artifact("onnx", range(10)),), refused={"torchscript": "not trusted", "pt2": "not trusted"}),
        "Unanswered: torchscript, pt2 could not be compared. What was: 10 members in 1 artifact agree",
    ),
    "nothing": (report(artifacts=()), "Unanswered: nothing could be compared."),
}


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize(("found", "sentence"), CASES.values(), ids=CASES.keys())
def test_what_decides_is_whole_and_a_sentence_says_the_verdict(
    at: Callable[..., str], found: ParityReport, sentence: str, width: int
) -> None:
    shown = at(found, width, bundle="my bundle")
    assert shown.splitlines()[-1].startswith(sentence)
    assert "…" not in shown
    assert max((len(line) for line in shown.splitlines() if line[:1] in tuple("┏┃┡│├└")), default=0) <= width
    for item in found.artifacts:
        assert item.artifact in shown
        assert f"{item.worst.relative_l2:.1e}" in shown
        assert all(word in shown for word in item.runtime.split())
        assert ("same" if item.passed else "DIFFERENT") in shown
    assert "1e-05" in shown or not found.artifacts


def test_only_a_drawn_sample_is_called_one(at: Callable[..., str]) -> None:
    assert "a seeded sample" in at(CASES["a sample"][0])
    assert "a seeded sample" not in at(CASES["named"][0])
    assert "2 of 10 members (as named)" in at(CASES["named"][0])


def test_of_many_members_the_worst_are_shown(at: Callable[..., str]) -> None:
    many = report(100, artifacts=(artifact("onnx", range(100), wrong=(77,)),))
    shown = at(many)
    assert "the 32 with the largest of 100 (all: --wide)" in shown
    assert "│     77 │" in shown
    assert "│     99 │" not in shown


def test_reasons_are_told_once_and_only_where_something_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    not_run = {
        "torchscript": "its format is not in the bundle",
        "openvino": "not asked for: --runtimes openvino",
        "onnx-reference": "not asked for: --runtimes onnx-reference",
        "onnx on cuda": "there is no NVIDIA driver: install it",
        "one": "too large",
        "two": "too large",
    }
    monkeypatch.setattr("hnexport.parity.not_run.can_load", lambda library: False)
    with in_command():
        assert remarks(not_run) == ("openvino, onnx-reference (--runtimes all)", "one, two: too large")
    monkeypatch.setattr("hnexport.parity.not_run.can_load", lambda library: True)
    assert "onnx on cuda: there is no NVIDIA driver: install it" in remarks(not_run)


def test_a_report_knows_how_its_members_came_about(built: Built) -> None:
    for members, selection in ((None, "all"), ((2, 0), "named"), ((2, 0, 1), "all")):
        found = verify_bundle(built.path, VerifyOptions(members=members, artifacts=("onnx",), batch_sizes=(1,)))
        assert (found.selection, found.sampled) == (selection, False)


def test_claims_that_are_not_confirmed_make_it_different(at: Callable[..., str]) -> None:
    claim = Check(name="parity figures", passed=False, detail="onnx says 1e-9, found 8e-7")
    shown = at(report(claims=(claim,)), width=160)
    assert "FAILED parity figures: onnx says 1e-9" in shown
    assert "Different: the bundle is not what it says of itself (parity figures" in shown


def test_samples_are_images_where_the_only_input_is_one(at: Callable[..., str]) -> None:
    assert "6 kinds of image" in at(report(ranges={"image": (0.0, 1.0)}), width=160)
    assert "6 kinds of sample" in at(report(ranges={"tokens": (0, 9), "weighting": (0, 1)}), width=160)


def test_what_was_probed_left_out_ill_conditioned_and_drawn_is_said(at: Callable[..., str]) -> None:
    shown = at(
        report(
            ranges={"image": (-1e4, 9716.0)},
            left_out=("extreme",),
            ill_conditioned={"member 0, sample 3": 3e-5},
            seed=7,
        ),
        width=200,
    )
    assert "probed: image from -1e+04 to 9.72e+03" in shown
    assert "left out, the reference or the precision cannot compute it: extreme" in shown
    assert "ill-conditioned, judged by what float32 itself may lose there: member 0, sample 3 (3e-05)" in shown
    assert "members drawn with --seed 7" in shown


def test_nothing_is_said_of_samples_where_there_is_nothing_to_say(at: Callable[..., str]) -> None:
    shown = at(report(), width=200)
    assert not [word for word in ("probed:", "left out", "ill-conditioned", "--seed") if word in shown]
