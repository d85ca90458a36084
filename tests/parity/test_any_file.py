"""Any file is judged as far as it can be, or refused with what to do instead."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import variants
from bundles import rewrite_checksums
from faults import ONNX_FAULTS, OnnxEditor
from onnx import TensorProto, helper

from hnexport import parity
from hnexport.errors import BundleError, ParityError
from hnexport.parity import ParityReport, Precision, Verdict, VerifyOptions
from hnexport.parity.batches import allowed_sizes, filled, in_parts, member_batches
from hnexport.parity.cases import read_case
from hnexport.parity.checks import SAME_ROW, SPOILT_ROW
from hnexport.parity.limits import Limits
from hnexport.parity.locate import LocateReport
from hnexport.parity.locate import locate as locate_file
from hnexport.parity.results import Comparison
from hnexport.spec import BATCH, OutputSpec, Signature, TensorSpec

Pristine = Callable[[str], Path]
HALF = VerifyOptions(precision=Precision.FLOAT16)

# The files of these tests are their own: programs run in this process. `test_strangers` has those that do not.


def trusting(options: VerifyOptions | None) -> VerifyOptions:
    return dataclasses.replace(options or VerifyOptions(), trust=True)


def verify_file(file: Path, bundle: Path, options: VerifyOptions | None = None) -> ParityReport:
    return parity.verify_file(file, bundle, trusting(options))


def verify(bundle: Path, options: VerifyOptions | None = None) -> ParityReport:
    return parity.verify(bundle, trusting(options))


def replay(case: Path, file: Path, bundle: Path) -> Comparison:
    return parity.replay(case, file, bundle, trusting(None))


def locate(bundle: Path, against: str, **options: Precision) -> LocateReport:
    return locate_file(bundle, against, trust=True, **options)


def same(file: Path, bundle: Path, options: VerifyOptions | None = None) -> ParityReport:
    report = verify_file(file, bundle, options)
    assert report.verdict is Verdict.SAME, report.artifacts[0].failures
    return report


def refused(file: Path, bundle: Path, message: str, options: VerifyOptions | None = None) -> None:
    with pytest.raises((BundleError, ParityError), match=message) as caught:
        verify_file(file, bundle, options)
    assert "\n" not in str(caught.value)


# Batches of a fixed size.


@pytest.mark.parametrize("size", [1, 2, 4, 6, 7, 32])
def test_a_limited_file_meets_every_image_and_some_at_two_places(size: int) -> None:
    batches = member_batches(6, 2, (size,), Limits(batch_sizes=(size,)))
    assert {image for batch in batches for image in batch} == set(range(6))
    assert {len(batch) for batch in batches} == {size}
    places = {(image, place) for batch in batches for place, image in enumerate(batch)}
    assert size == 1 or len(places) > 6


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_an_onnx_file_of_one_batch_size_is_judged_at_that_size(size: int, pristine: Pristine, copied: Pristine) -> None:
    report = same(variants.with_fixed_batch(copied("hypernet"), size), pristine("hypernet"))
    assert report.batch_sizes == (size,)
    checked = {check.name for check in report.artifacts[0].checks}
    missing = set(report.artifacts[0].not_checked)
    if size == 1:
        assert missing == {SAME_ROW, SPOILT_ROW}
        assert not missing & checked
    else:
        assert {SAME_ROW, SPOILT_ROW} <= checked
        assert missing == {"other batch sizes"}


@pytest.mark.parametrize("size", [0, 4097, 10**6])
def test_a_batch_size_that_nothing_can_be_run_with_is_refused(size: int, pristine: Pristine, copied: Pristine) -> None:
    file = variants.with_fixed_batch(copied("hypernet"), size)
    refused(file, pristine("hypernet"), f"takes exactly {size} images a call")
    with pytest.raises(ParityError, match=f"takes exactly {size} images a call"):
        locate(pristine("hypernet"), str(file))


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("fault", ["ReLU missing", "two members swapped", "no guard for unknown ids", "batch mixing"])
def test_faults_are_found_at_a_fixed_batch_too(size: int, fault: str, pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    next(item for item in ONNX_FAULTS if item.name == fault).plant(bundle)
    report = verify_file(variants.with_fixed_batch(bundle, size), pristine("hypernet"))
    assert report.verdict is (Verdict.SAME if (fault, size) == ("batch mixing", 1) else Verdict.DIFFERENT)


def test_batch_sizes_that_a_file_cannot_run_are_refused_with_those_it_can(pristine: Pristine, copied: Pristine) -> None:
    file = variants.with_fixed_batch(copied("hypernet"), 4)
    options = VerifyOptions(batch_sizes=(4, 3))
    refused(file, pristine("hypernet"), "cannot run a batch of 3, only of 4: leave out batch_sizes", options)
    same(file, pristine("hypernet"), VerifyOptions(batch_sizes=(4,), members=(2, 0)))


def test_sizes_that_cannot_be_run_are_refused_with_those_that_can() -> None:
    limits = Limits(least_batch=2)
    assert allowed_sizes("a file", limits, None, 6) == (3, 6)
    assert allowed_sizes("a file", Limits(least_batch=8), None, 6) == (8,)
    with pytest.raises(ParityError, match="a batch of 1, only of 2 or more"):
        allowed_sizes("a file", limits, (1,), 6)
    with pytest.raises(ParityError, match="a batch of 1, only of 2 to 99"):
        allowed_sizes("a file", Limits(batch_sizes=tuple(range(2, 100))), (1,), 6)


SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", dtype="int64", shape=(BATCH,)),),
    outputs=(OutputSpec(name="logits", dtype="float32", shape=(BATCH,)),),
)
LIMITED = {
    "any": (Limits(), [6], 1),
    "from 4": (Limits(least_batch=4), [6], 4),
    "from 8": (Limits(least_batch=8), [8], 8),
    "4 or 9": (Limits(batch_sizes=(9, 4)), [4, 4], 4),
    "9 alone": (Limits(batch_sizes=(9,)), [9], 9),
}


@pytest.mark.parametrize(("limits", "sizes", "least"), LIMITED.values(), ids=LIMITED)
def test_images_are_cut_into_batches_that_can_be_run(limits: Limits, sizes: list[int], least: int) -> None:
    images = np.arange(6)
    parts = list(in_parts(SIGNATURE, {"image": images}, limits))
    assert [len(batch["image"]) for batch, _ in parts] == sizes
    np.testing.assert_array_equal(np.concatenate([batch["image"][:count] for batch, count in parts]), images)
    assert len(filled(SIGNATURE, {"image": images[:1]}, limits)["image"]) == least


def test_torchscript_that_needs_two_images_is_judged_from_two_on(pristine: Pristine, tmp_path: Path) -> None:
    class Several(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, cond_id: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
            assert image.shape[0] >= 2, "two images at least"
            return self.inner(cond_id, image)

    torch.jit.script(Several(torch.jit.load(pristine("hypernet") / "model.pt"))).save(tmp_path / "several.pt")
    assert same(tmp_path / "several.pt", pristine("hypernet")).batch_sizes == (3, 7, 33, 257)
    assert locate(pristine("hypernet"), str(tmp_path / "several.pt")).first is None


@pytest.mark.parametrize("size", [1, 5])
def test_a_pt2_file_of_one_batch_size_is_judged_at_that_size(size: int, pristine: Pristine, tmp_path: Path) -> None:
    file = variants.exported(pristine("hypernet"), tmp_path / "fixed.pt2", size)
    assert same(file, pristine("hypernet")).batch_sizes == (size,)
    assert locate(pristine("hypernet"), str(file)).first is None


def test_a_pt2_file_of_a_range_of_sizes_is_judged_within_it(pristine: Pristine, tmp_path: Path) -> None:
    few = {0: torch.export.Dim("few", min=1, max=5)}
    file = variants.exported(pristine("hypernet"), tmp_path / "few.pt2", 3, dynamic=few)
    assert same(file, pristine("hypernet")).batch_sizes == (1, 3)
    refused(
        file, pristine("hypernet"), "cannot run a batch of 6, only of 1, 2, 3, 4, 5", VerifyOptions(batch_sizes=(6,))
    )
    same(file, pristine("hypernet"), VerifyOptions(batch_sizes=(2, 5)))


@pytest.mark.parametrize("size", [1, 2, 24, 200])
def test_a_torchscript_of_one_batch_size_is_found_by_trying(size: int, pristine: Pristine, tmp_path: Path) -> None:
    file = variants.scripted(pristine("hypernet"), tmp_path / "one.pt", lambda inner: variants.OnlySize(inner, size))
    assert same(file, pristine("hypernet")).batch_sizes == (size,)


def test_failing_cases_of_a_fixed_batch_are_saved_and_run_again(
    pristine: Pristine, copied: Pristine, tmp_path: Path
) -> None:
    bundle, folder, whole = copied("hypernet"), tmp_path / "failures", pristine("hypernet")
    next(item for item in ONNX_FAULTS if item.name == "two members swapped").plant(bundle)
    file = variants.with_fixed_batch(bundle, 4)
    verify_file(file, whole, VerifyOptions(save_failures=folder))
    case = folder / "model-member-0.json"
    assert len(read_case(case).inputs["image"]) == 4
    assert not replay(case, file, whole).passed
    assert replay(case, whole / "model.onnx", whole).passed
    other = Path(shutil.copytree(whole, tmp_path / "other"))
    assert replay(case, variants.with_fixed_batch(other, 3), whole).passed
    assert replay(case, variants.with_fixed_batch(Path(shutil.copytree(whole, tmp_path / "big")), 9), whole).passed


@pytest.mark.parametrize("size", [1, 2, 5])
def test_locate_follows_a_file_of_a_fixed_batch(size: int, pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    whole = variants.with_fixed_batch(bundle, size)
    assert locate(pristine("hypernet"), str(whole)).first is None
    fault = next(item for item in ONNX_FAULTS if item.name == "ReLU missing")
    fault.plant(bundle)
    found = locate(pristine("hypernet"), str(variants.with_fixed_batch(bundle, size)))
    assert found.first is not None
    assert found.first.place == fault.place


# Images of another size or rank.


def with_image_axes(bundle: Path, axes: list[int | str]) -> Path:
    def edit(editor: OnnxEditor) -> None:
        editor.graph.input[1].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, axes))

    return variants.edited(bundle, edit)


def test_images_of_another_size_are_refused_with_both_shapes(pristine: Pristine, copied: Pristine) -> None:
    file = with_image_axes(copied("hypernet"), ["batch", 3, 16, 16])
    refused(file, pristine("hypernet"), r"takes images float32 \[batch, 3, 16, 16\], the bundle's are .* 3, 8, 8\]")


def test_images_of_another_rank_are_refused(pristine: Pristine, copied: Pristine) -> None:
    file = with_image_axes(copied("hypernet"), [3, 8, 8])
    refused(file, pristine("hypernet"), "expected the inputs cond_id .* and image|cannot open")


def test_a_pt2_of_another_image_is_refused(pristine: Pristine, tmp_path: Path) -> None:
    program = torch.export.export(Flat(), (torch.tensor(1), torch.zeros(2, 3, 16, 16)))
    torch.export.save(program, tmp_path / "other.pt2")
    refused(tmp_path / "other.pt2", pristine("hypernet"), r"takes images float32 \[2, 3, 16, 16\]")


class Flat(torch.nn.Module):
    def forward(self, cond_id: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1)[:, :10] * cond_id


# Types.


@pytest.mark.parametrize(
    ("dtype", "change"),
    [(TensorProto.FLOAT16, variants.with_image_type), (TensorProto.FLOAT16, variants.with_logits_type)],
    ids=["image", "logits"],
)
def test_float16_is_judged_as_float16_and_refused_as_anything_else(
    dtype: int, change: Callable[[Path, int], Path], pristine: Pristine, copied: Pristine
) -> None:
    file = change(copied("hypernet"), dtype)
    same(file, pristine("hypernet"), HALF)
    for precision in (Precision.FLOAT32, Precision.TF32):
        options = VerifyOptions(precision=precision)
        refused(file, pristine("hypernet"), "float16, which cannot hold .* precision=Precision.FLOAT16", options)
    with pytest.raises(ParityError, match="precision=Precision.FLOAT16"):
        locate(pristine("hypernet"), str(file))
    assert locate(pristine("hypernet"), str(file), precision=Precision.FLOAT16).first is None


@pytest.mark.parametrize("change", [variants.with_image_type, variants.with_logits_type], ids=["image", "logits"])
def test_double_is_judged_by_the_bundles_precision(
    change: Callable[[Path, int], Path], pristine: Pristine, copied: Pristine
) -> None:
    file = change(copied("hypernet"), TensorProto.DOUBLE)
    same(file, pristine("hypernet"))
    assert locate(pristine("hypernet"), str(file)).first is None


@pytest.mark.parametrize("change", [variants.with_image_type, variants.with_logits_type], ids=["image", "logits"])
def test_bfloat16_in_onnx_is_refused_with_a_remedy(
    change: Callable[[Path, int], Path], pristine: Pristine, copied: Pristine
) -> None:
    file = change(copied("hypernet"), TensorProto.BFLOAT16)
    refused(file, pristine("hypernet"), "bfloat16, which onnxruntime cannot .* put a Cast", HALF)


def test_a_wrong_file_in_float16_is_different(pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    next(item for item in ONNX_FAULTS if item.name == "two members swapped").plant(bundle)
    file = variants.with_image_type(bundle, TensorProto.FLOAT16)
    assert verify_file(file, pristine("hypernet"), HALF).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_torchscript_in_half_precision_is_run(dtype: torch.dtype, pristine: Pristine, tmp_path: Path) -> None:
    file = variants.halved(pristine("hypernet"), tmp_path / "half.pt", dtype)
    narrow = str(dtype).removeprefix("torch.")
    refused(file, pristine("hypernet"), f"takes or returns {narrow}, .* precision=Precision.FLOAT16")
    report = verify_file(file, pristine("hypernet"), HALF)
    assert report.artifacts[0].worst.relative_l2 < (2e-2 if dtype is torch.float16 else 0.2)
    locate(pristine("hypernet"), str(file), precision=Precision.FLOAT16)


def test_torchscript_in_double_is_run(pristine: Pristine, tmp_path: Path) -> None:
    same(variants.halved(pristine("hypernet"), tmp_path / "double.pt", torch.float64), pristine("hypernet"))


def test_a_pt2_in_half_precision_is_run(pristine: Pristine, tmp_path: Path) -> None:
    file = variants.exported(pristine("hypernet"), tmp_path / "half.pt2", 4, dtype=torch.float16)
    refused(file, pristine("hypernet"), "takes or returns float16")
    same(file, pristine("hypernet"), HALF)


def test_a_file_that_takes_float_pixels_is_judged_by_a_bundle_of_uint8(pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("pixels")
    editor = OnnxEditor(bundle / "model.onnx")
    editor.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT
    editor.save()
    same(bundle / "model.onnx", pristine("pixels"))


def test_a_file_that_takes_uint8_is_refused_by_a_bundle_of_floats(pristine: Pristine, copied: Pristine) -> None:
    file = variants.with_image_type(copied("hypernet"), TensorProto.UINT8)
    refused(file, pristine("hypernet"), r"takes images uint8 .* the bundle's are float32")


# Outputs and inputs.


@pytest.mark.parametrize("first", [True, False], ids=["last", "first"])
def test_of_several_outputs_the_one_named_logits_is_taken(first: bool, pristine: Pristine, copied: Pristine) -> None:
    file = variants.with_more_outputs(copied("hypernet"), first=first)
    same(file, pristine("hypernet"))
    assert locate(pristine("hypernet"), str(file)).first is None


def test_several_outputs_without_logits_are_refused_by_name(pristine: Pristine, copied: Pristine) -> None:
    file = variants.with_more_outputs(copied("hypernet"), logits="scores")
    message = "has 2 outputs, scores, winner, and none is called logits: rename"
    refused(file, pristine("hypernet"), message)
    with pytest.raises(ParityError, match=message):
        locate(pristine("hypernet"), str(file))


OUTPUTS = {
    "class numbers": (
        helper.make_node("ArgMax", ["logits"], ["out"], axis=1, keepdims=0),
        helper.make_tensor_value_info("out", TensorProto.INT64, ["batch"]),
        (),
        "returns int64, expected floating-point logits",
    ),
    "whole numbers": (
        helper.make_node("Cast", ["logits"], ["out"], to=TensorProto.INT64),
        helper.make_tensor_value_info("out", TensorProto.INT64, ["batch", 10]),
        (),
        "returns int64, expected floating-point logits",
    ),
    "a map": (
        helper.make_node("Unsqueeze", ["logits", "constant0"], ["out"]),
        helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 10, 1, 1]),
        (np.array([2, 3]),),
        r"found \[batch, 10, 1, 1\]: flatten them",
    ),
    "a map that is not declared": (
        helper.make_node("Unsqueeze", ["logits", "constant0"], ["out"]),
        helper.make_tensor_value_info("out", TensorProto.FLOAT, None),
        (np.array([2, 3]),),
        r"found \[\?, 10, 1, 1\]: flatten them",
    ),
    "fewer classes": (
        helper.make_node("Slice", ["logits", "constant0", "constant1", "constant2"], ["out"]),
        helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 9]),
        (np.array([0]), np.array([9]), np.array([1])),
        r"found \[batch, 9\]",
    ),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_that_is_no_logits_is_refused(case: str, pristine: Pristine, copied: Pristine) -> None:
    node, output, constants, message = OUTPUTS[case]
    refused(variants.with_output(copied("hypernet"), node, output, *constants), pristine("hypernet"), message)


def test_rows_that_are_lost_are_a_difference(pristine: Pristine, copied: Pristine) -> None:
    node = helper.make_node("Slice", ["logits", "constant0", "constant1", "constant2"], ["out"])
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["rows", 10])
    limits = (np.array([0]), np.array([2]), np.array([0]))
    file = variants.with_output(copied("hypernet"), node, output, *limits)
    assert verify_file(file, pristine("hypernet")).verdict is Verdict.DIFFERENT


def test_logits_that_are_not_finite_are_a_difference(pristine: Pristine, copied: Pristine) -> None:
    node = helper.make_node("Div", ["logits", "constant0"], ["out"])
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 10])
    file = variants.with_output(copied("hypernet"), node, output, np.zeros(1, dtype=np.float32))
    report = verify_file(file, pristine("hypernet"))
    assert report.verdict is Verdict.DIFFERENT
    assert report.artifacts[0].worst.relative_l2 == np.inf


WRAPPED = {
    "a dict with logits": variants.AsDict,
    "a tuple of one": variants.AsTuple,
    "an argument with a default": variants.WithDefault,
    "an id of the shape [1]": variants.VectorId,
    "the signature of ensemble.onnx": variants.EnsembleOnly,
}


@pytest.mark.parametrize("case", WRAPPED)
def test_torchscript_may_return_and_take_more(case: str, pristine: Pristine, tmp_path: Path) -> None:
    report = same(variants.scripted(pristine("hypernet"), tmp_path / "a.pt", WRAPPED[case]), pristine("hypernet"))
    if case == "an argument with a default":
        assert report.artifacts[0].not_checked == {"other inputs": "left at the file's own values: temperature"}


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (variants.AsPair, "has 2 outputs, output 0, output 1, and none is called logits"),
        (variants.AsMap, r"found \[\d, 10, 1, 1\]: flatten them to \[batch, class\]"),
    ],
    ids=["a pair", "a map"],
)
def test_torchscript_that_returns_no_logits_is_refused(
    wrap: Callable, message: str, pristine: Pristine, tmp_path: Path
) -> None:
    refused(variants.scripted(pristine("hypernet"), tmp_path / "a.pt", wrap), pristine("hypernet"), message)


def test_an_id_of_the_shape_1_is_taken(pristine: Pristine, copied: Pristine) -> None:
    file = variants.with_vector_id(copied("hypernet"))
    same(file, pristine("hypernet"))
    assert locate(pristine("hypernet"), str(file)).first is None


def test_an_input_with_a_default_is_named(pristine: Pristine, copied: Pristine) -> None:
    report = same(variants.with_extra_input(copied("hypernet"), default=True), pristine("hypernet"))
    assert report.artifacts[0].not_checked == {"other inputs": "left at the file's own values: temperature"}


def test_an_input_without_a_default_is_refused_by_name(pristine: Pristine, copied: Pristine) -> None:
    file = variants.with_extra_input(copied("hypernet"), default=False)
    refused(file, pristine("hypernet"), "give temperature a value inside the file")


# Ensembles.


@pytest.mark.parametrize("size", [None, 1, 4, 8])
def test_a_file_with_the_signature_of_an_ensemble_is_judged(
    size: int | None, pristine: Pristine, copied: Pristine
) -> None:
    bundle = copied("hypernet")
    file = bundle / "ensemble.onnx" if size is None else variants.with_fixed_batch(bundle, size, "ensemble.onnx")
    report = same(file.rename(bundle / "simplified.onnx"), pristine("hypernet"))
    assert "mean probabilities and entropies follow from the logits" in {c.name for c in report.artifacts[0].checks}


def test_an_ensembles_outputs_may_have_other_names(pristine: Pristine, copied: Pristine) -> None:
    def rename(editor: OnnxEditor) -> None:
        for number, item in enumerate(editor.graph.output):
            editor.graph.node.append(helper.make_node("Identity", [item.name], [f"output_{number}"]))
            item.name = f"output_{number}"

    same(variants.edited(copied("hypernet"), rename, "ensemble.onnx"), pristine("hypernet"))


def test_an_ensemble_in_float16_is_judged_as_float16_only(pristine: Pristine, copied: Pristine) -> None:
    def narrow(editor: OnnxEditor) -> None:
        for item in editor.graph.output:
            cast = helper.make_node("Cast", [item.name], [f"half {item.name}"], to=TensorProto.FLOAT16)
            editor.graph.node.append(cast)
            item.name = f"half {item.name}"
            item.type.tensor_type.elem_type = TensorProto.FLOAT16

    file = variants.edited(copied("hypernet"), narrow, "ensemble.onnx")
    refused(file, pristine("hypernet"), "takes or returns float16")
    same(file, pristine("hypernet"), HALF)


def test_a_wrong_ensemble_file_is_different(pristine: Pristine, copied: Pristine) -> None:
    bundle = copied("hypernet")
    editor = OnnxEditor(bundle / "ensemble.onnx")
    editor.after("predictive_entropy", "Neg")
    editor.save()
    assert verify_file(bundle / "ensemble.onnx", pristine("hypernet")).verdict is Verdict.DIFFERENT


def test_what_an_ensemble_file_cannot_be_asked_is_refused(pristine: Pristine, tmp_path: Path) -> None:
    file, bundle = pristine("hypernet") / "ensemble.onnx", pristine("hypernet")
    refused(file, bundle, "leave out batch_sizes", VerifyOptions(batch_sizes=(1,)))
    refused(file, bundle, "leave out save_failures", VerifyOptions(save_failures=tmp_path))
    with pytest.raises(ParityError, match="runs several members at once: locate follows one"):
        locate(bundle, str(file))
    same(file, bundle, VerifyOptions(members=(2,)))


# Members that a runtime cannot run.


def failures_of(report: ParityReport) -> tuple[str, ...]:
    return report.artifacts[0].failures


def failing(bundle: Path, target: Path, factor: float) -> Path:
    return variants.scripted(bundle, target, lambda inner: variants.FailsAt(inner, 1, factor))


def test_a_member_that_cannot_be_run_leaves_the_question_open(pristine: Pristine, tmp_path: Path) -> None:
    refused(failing(pristine("hypernet"), tmp_path / "a.pt", 1.0), pristine("hypernet"), "cannot run member 1 with")


def test_a_member_that_cannot_be_run_does_not_hide_that_others_differ(pristine: Pristine, tmp_path: Path) -> None:
    report = verify_file(failing(pristine("hypernet"), tmp_path / "a.pt", 1.5), pristine("hypernet"))
    assert report.verdict is Verdict.DIFFERENT
    assert any(
        "every member can be run: 1 of 3 cannot, the first is 1" in line for line in report.artifacts[0].failures
    )
    assert any(line.startswith("member 1: ") and "cannot run member 1 with" in line for line in failures_of(report))
    assert not any("error inf" in line for line in failures_of(report))


def test_an_artifact_that_cannot_be_run_does_not_hide_that_another_differs(copied: Pristine) -> None:
    bundle = copied("hypernet")
    next(item for item in ONNX_FAULTS if item.name == "ReLU missing").plant(bundle)
    failing(bundle, bundle / "new.pt", 1.0).replace(bundle / "model.pt")
    rewrite_checksums(bundle)
    report = verify(bundle, VerifyOptions(artifacts=("onnx", "torchscript")))
    assert report.verdict is Verdict.DIFFERENT
    assert "cannot run member 1 with" in report.refused["torchscript"]
    with pytest.raises(ParityError, match="cannot run member 1 with"):
        verify(bundle, VerifyOptions(artifacts=("torchscript",)))


# Kinds of files.


def test_a_file_in_onnxruntimes_format_is_judged_and_not_located(pristine: Pristine, tmp_path: Path) -> None:
    bundle = pristine("hypernet")
    file = variants.as_ort(bundle / "model.onnx", tmp_path / "model.ort")
    same(file, bundle)
    with pytest.raises(ParityError, match=r"shows no values inside: locate in the \.onnx"):
        locate(bundle, str(file))


def test_a_wrong_file_in_onnxruntimes_format_is_different(pristine: Pristine, copied: Pristine, tmp_path: Path) -> None:
    bundle = copied("hypernet")
    next(item for item in ONNX_FAULTS if item.name == "ReLU missing").plant(bundle)
    file = variants.as_ort(bundle / "model.onnx", tmp_path / "model.ort")
    assert verify_file(file, pristine("hypernet")).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
def test_native_code_is_recognised_and_not_run(suffix: str, pristine: Pristine, tmp_path: Path) -> None:
    file = variants.as_aotinductor(tmp_path / f"model{suffix}")
    report = parity.verify_file(file, pristine("hypernet"))
    assert report.verdict is Verdict.UNANSWERED
    assert "is an AOTInductor package, machine code" in report.refused[file.name]
    assert "verify the .pt2 that it was" in report.refused[file.name]
    with pytest.raises(ParityError, match="is an AOTInductor package"):
        locate_file(pristine("hypernet"), str(file))


def test_pytorchs_kinds_are_told_by_what_is_in_them(pristine: Pristine, tmp_path: Path) -> None:
    for name, other in (("model.pt", "a.pth"), ("model.pt2", "b.pt"), ("model.pt", "c.pt2")):
        same(Path(shutil.copy(pristine("hypernet") / name, tmp_path / other)), pristine("hypernet"))


@pytest.mark.parametrize("name", ["a.tflite", "a.h5", "a.engine", "a.safetensors", "a.txt", "a", "a.mlmodel"])
def test_other_kinds_are_refused_with_those_that_are_read(name: str, pristine: Pristine, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something")
    refused(tmp_path / name, pristine("hypernet"), r"expected an ONNX file .*verify_outputs")


def test_what_is_no_model_is_refused(pristine: Pristine, tmp_path: Path) -> None:
    bundle = pristine("hypernet")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "state.pt")
    refused(tmp_path / "state.pt", bundle, "holds tensors or pickled objects of torch.save")
    refused(tmp_path, bundle, "is a folder")
    for suffix in ("onnx", "ort", "pt", "pt2"):
        (tmp_path / f"empty.{suffix}").touch()
        refused(tmp_path / f"empty.{suffix}", bundle, "is empty: expected")
        (tmp_path / f"text.{suffix}").write_text("no model")
        refused(tmp_path / f"text.{suffix}", bundle, "cannot|is not an ONNX file")
    for name in ("model.onnx", "model.pt", "model.pt2"):
        data = (bundle / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        refused(tmp_path / name, bundle, "cannot|is not an ONNX file")
