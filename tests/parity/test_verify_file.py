"""`verify` of any model file, other runtimes, precisions and failing cases."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import rewrite_checksums
from faults import ONNX_FAULTS, OnnxEditor
from thorough import first

from hnexport.errors import BundleError, ParityError, ProviderError
from hnexport.member import write_members
from hnexport.names import MEMBER_MARK
from hnexport.parity import Precision, Verdict, VerifyOptions, replay, verify, verify_file
from hnexport.parity.cases import read_case

Pristine = Callable[[str], Path]


@pytest.mark.parametrize("name", ["model.onnx", "model.pt", "model.pt2"])
def test_a_bundles_own_files_agree_with_it(name: str, pristine: Pristine) -> None:
    report = verify_file(pristine("hypernet") / name, pristine("hypernet"))
    assert report.passed, report.artifacts[0].failures
    assert report.artifacts[0].artifact == name


@pytest.mark.parametrize(
    "fault", first(2, ["ReLU missing", "two members swapped", "no guard for unknown ids", "batch mixing"])
)
def test_a_wrong_file_fails(fault: str, pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    next(item for item in ONNX_FAULTS if item.name == fault).plant(bundle)
    assert not verify_file(bundle / "model.onnx", pristine("hypernet")).passed


def test_inputs_may_have_other_names(pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    editor = OnnxEditor(bundle / "model.onnx")
    for item, name in zip(editor.graph.input, ("member", "x"), strict=True):
        for node in editor.graph.node:
            node.input[:] = [name if value == item.name else value for value in node.input]
        item.name = name
    editor.save()
    assert verify_file(bundle / "model.onnx", pristine("hypernet")).passed


def test_a_file_without_cond_id_is_refused(pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    next(item for item in ONNX_FAULTS if item.name == "condition baked in, its input gone").plant(bundle)
    with pytest.raises(ParityError, match="expected the inputs cond_id .* the condition id seems baked in"):
        verify_file(bundle / "model.onnx", pristine("hypernet"))


def test_a_members_own_file_is_judged_as_the_member_that_it_says_it_is(pristine: Pristine, tmp_path: Path) -> None:
    write_members(pristine("hypernet"), [1], tmp_path / "plain.onnx")
    report = verify_file(tmp_path / "plain.onnx", pristine("hypernet"))
    assert (report.members_checked, report.verdict) == ((1,), Verdict.SAME)
    claims_another = onnx.load(tmp_path / "plain.onnx")
    next(item for item in claims_another.metadata_props if item.key == MEMBER_MARK).value = "0"
    onnx.save(claims_another, tmp_path / "other.onnx")
    assert verify_file(tmp_path / "other.onnx", pristine("hypernet")).verdict is Verdict.DIFFERENT


def test_a_converted_members_file_is_judged_as_the_member_that_is_named(pristine: Pristine, tmp_path: Path) -> None:
    write_members(pristine("hypernet"), [1], tmp_path / "plain.onnx")
    model = onnx.load(tmp_path / "plain.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "plain.onnx")
    for member, verdict in ((1, Verdict.SAME), (0, Verdict.DIFFERENT)):
        options = VerifyOptions(members=(member,))
        assert verify_file(tmp_path / "plain.onnx", pristine("hypernet"), options).verdict is verdict
    with pytest.raises(
        ParityError, match=r"baked in; a member's own file is judged by `hnexport verify .* --members 3`"
    ):
        verify_file(tmp_path / "plain.onnx", pristine("hypernet"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing.onnx", "is not a file"), ("notes.txt", "expected an ONNX file"), ("bad.pt", "cannot be read")],
)
def test_something_else_is_refused(name: str, message: str, pristine: Pristine, tmp_path: Path) -> None:
    if name != "nothing.onnx":
        (tmp_path / name).write_text("no model")
    with pytest.raises(ParityError, match=message):
        verify_file(tmp_path / name, pristine("hypernet"))


def test_damaged_golden_samples_are_refused(copied: Pristine) -> None:
    bundle = copied("hypernet")
    data = bytearray((bundle / "golden.safetensors").read_bytes())
    data[-1] ^= 1
    (bundle / "golden.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        verify_file(bundle / "model.onnx", bundle)


def test_every_installed_runtime_agrees(pristine: Pristine) -> None:
    pytest.importorskip("openvino")
    report = verify(pristine("hypernet"), VerifyOptions(artifacts=("all",)))
    assert report.passed, [artifact.failures for artifact in report.artifacts]
    names = [artifact.artifact for artifact in report.artifacts]
    assert {"onnx", "onnx-materialised", "torchscript", "pt2", "openvino", "onnx-reference"} <= set(names)
    details = {check.name: check.detail for check in report.artifacts[names.index("openvino")].checks}
    assert "its loader must check them" in details["ids that do not exist give NaN"]


@pytest.mark.each_once
@pytest.mark.parametrize("artifact", ["openvino", "onnx-reference"])
@pytest.mark.parametrize("fault", ["ReLU missing", "no guard for unknown ids", "batch-norm epsilon 1e-3"])
def test_other_runtimes_see_faults_too(fault: str, artifact: str, copied: Pristine) -> None:
    if artifact == "openvino":
        pytest.importorskip("openvino")
    bundle = copied("hypernet")
    next(item for item in ONNX_FAULTS if item.name == fault).plant(bundle)
    assert not verify(bundle, VerifyOptions(artifacts=(artifact,))).passed


def test_the_report_says_what_was_not_run_and_why(pristine: Pristine) -> None:
    report = verify(pristine("hypernet"), VerifyOptions(artifacts=("onnx",), provider="cpu"))
    assert report.not_run["pt2"] == "not asked for: artifacts=('pt2',)"
    assert set(report.not_run) >= {"openvino", "onnx-reference", "onnx on cuda", "onnx on tensorrt"}


def test_an_unknown_runtime_is_an_error(pristine: Pristine) -> None:
    with pytest.raises(ParityError, match="there is no runtime 'tflite'"):
        verify(pristine("hypernet"), VerifyOptions(artifacts=("tflite",)))


def test_a_runtime_that_is_not_installed_is_an_error(pristine: Pristine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnexport.parity.runners.why_no_openvino", lambda: "OpenVINO is not installed: pip install it")
    with pytest.raises(ProviderError, match="pip install"):
        verify(pristine("hypernet"), VerifyOptions(artifacts=("openvino",)))
    assert "pip install" in verify(pristine("hypernet"), VerifyOptions(artifacts=("onnx", "all"))).not_run["openvino"]


def round_kernels(bundle: Path) -> None:
    """Every layer's kernel through float16, as a converter leaves them."""
    editor = OnnxEditor(bundle / "model.onnx")
    for node in [node for node in editor.graph.node if node.op_type == "Conv"]:
        editor.after(node.input[1], "Cast", to=onnx.TensorProto.FLOAT16)
        editor.after(node.input[1], "Cast", to=onnx.TensorProto.FLOAT)
    editor.save()
    rewrite_checksums(bundle)


def test_float16_rounding_passes_by_its_own_tolerance_only(pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    round_kernels(bundle)
    file = bundle / "model.onnx"
    assert not verify_file(file, pristine("hypernet")).passed
    for precision in (Precision.TF32, Precision.FLOAT16):
        assert verify_file(file, pristine("hypernet"), VerifyOptions(precision=precision)).passed


def test_a_failing_case_can_be_run_again(pristine: Pristine, copied: Pristine, tmp_path: Path) -> None:
    bundle, folder = copied("hypernet"), tmp_path / "failures"
    next(item for item in ONNX_FAULTS if item.name == "two members swapped").plant(bundle)
    verify(bundle, VerifyOptions(artifacts=("onnx",), save_failures=folder))
    assert sorted(path.name for path in folder.glob("*.json")) == ["onnx-member-0.json", "onnx-member-1.json"]
    case = read_case(folder / "onnx-member-0.json")
    assert case.found["logits"].shape == case.reference["logits"].shape == (len(case.inputs["image"]), 10)
    assert not replay(folder / "onnx-member-0.json", bundle, bundle).passed
    assert replay(folder / "onnx-member-0.json", pristine("hypernet"), pristine("hypernet")).passed
    assert replay(folder / "onnx-member-0.safetensors", pristine("hypernet") / "model.pt", pristine("hypernet")).passed


@pytest.mark.parametrize("content", ['{"schema": "else"}', "no json", '{"schema": "hnexport-parity-case"}'])
def test_a_file_that_is_no_case_is_refused(content: str, pristine: Pristine, tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(content)
    with pytest.raises(ParityError, match="failing case"):
        replay(tmp_path / "case.json", pristine("hypernet"), pristine("hypernet"))


def test_a_deterministic_runtime_has_no_repeat_spread_and_clear_margins(pristine: Pristine) -> None:
    report = verify(pristine("hypernet"), VerifyOptions(artifacts=("onnx",)))
    artifact = report.artifacts[0]
    assert artifact.repeat_spread == 0.0
    assert 0.0 < artifact.ensemble_error < 1e-5
    assert all(item.margin > 2 and item.top1_agreement == 1.0 for item in artifact.comparisons)
    assert np.isfinite([item.worst_absolute for item in artifact.comparisons]).all()


def renamed_output(bundle: Path, name: str) -> None:
    editor = OnnxEditor(bundle / name)
    editor.graph.node.append(onnx.helper.make_node("Identity", [editor.graph.output[0].name], ["scores"]))
    editor.graph.output[0].name = "scores"
    editor.save()


def swapped_outputs(bundle: Path, name: str) -> None:
    model = onnx.load(bundle / name, load_external_data=False)
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(reversed(outputs))
    (bundle / name).write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("artifact", "file", "change"),
    first(
        1,
        [
            ("onnx", "model.onnx", renamed_output),
            ("onnx-materialised", "network.onnx", renamed_output),
            ("onnx-ensemble", "ensemble.onnx", renamed_output),
            ("onnx-ensemble", "ensemble.onnx", swapped_outputs),
        ],
    ),
)
def test_a_bundles_own_file_with_another_signature_is_different(
    artifact: str, file: str, change: Callable[[Path, str], None], copied: Pristine
) -> None:
    bundle = copied("hypernet")
    change(bundle, file)
    rewrite_checksums(bundle)
    report = verify(bundle, VerifyOptions(artifacts=(artifact,)))
    assert report.verdict is Verdict.DIFFERENT
    assert any(line.startswith("its signature is the bundle's: ") for line in report.artifacts[0].failures)


def test_a_precision_without_a_tolerance_is_refused_with_those_that_have_one(pristine: Pristine) -> None:
    with pytest.raises(ParityError, match="nothing is judged in int8: choose .* float32, tf32, float16"):
        verify_file(pristine("hypernet") / "model.onnx", pristine("hypernet"), VerifyOptions(precision=Precision.INT8))
