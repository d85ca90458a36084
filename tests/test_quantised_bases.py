"""Bundles whose bases are integers: the same parity as any other, in every format, runtime and strategy."""

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from bundles import rewrite_checksums, spec_of
from fixture_types import MakeSpec, MakeTensors
from foreign_runtimes import Job, in_tract
from hypernetworks import CASES as HYPERNETWORKS
from module_ensembles import ENSEMBLES
from onnx import TensorProto
from onnx.external_data_helper import ExternalDataInfo
from thorough import first, only

from hnexport.build import BuildOptions, BuildResult, build
from hnexport.bundle import Format, read_golden, read_manifest
from hnexport.bundle.manifest import BasisRounding
from hnexport.bundle.restore import restore_tensors
from hnexport.confine.trust import Trust
from hnexport.errors import SpecError
from hnexport.families import family
from hnexport.names import COND_ID, MODEL_FILE
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import Recipe
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate
from hnexport.parity.programs import program_tensors
from hnexport.parity.rounding import RoundedTooMuchError, check_rounding
from hnexport.rows import row_errors
from hnexport.runtime import load
from hnexport.spec import Activation, BasisDtype, Chunking, HypernetSpec, Source, StoredKind

CASES = {
    "int8": (BasisDtype.INT8, {}),
    "int4, odd rows": (
        BasisDtype.INT4,
        {"hypernet": HypernetSpec(hidden_layers=(5,), bias=True, activation=Activation.TANH)},
    ),
    "int4, all generated, gcd": (
        BasisDtype.INT4,
        {
            "recipe": Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED),
            "hypernet": HypernetSpec(chunking=Chunking.GCD),
        },
    ),
}
KINDS = {BasisDtype.INT8: TensorProto.INT8, BasisDtype.INT4: TensorProto.UINT8}
OURS = Trust(everything=True)


Quantised = Callable[[str], tuple[Checkpoint, BuildResult]]


@pytest.fixture(scope="module")
def quantised(make_spec: MakeSpec, make_tensors: MakeTensors, tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    """The checkpoint in float32 and the build of a case, made once."""

    @functools.cache
    def make(case: str) -> tuple[Checkpoint, BuildResult]:
        dtype, changes = CASES[case]
        spec = make_spec(**changes)
        checkpoint = Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")
        path = tmp_path_factory.mktemp("quantised") / "bundle"
        return checkpoint, build(checkpoint, path, options=BuildOptions(bases=dtype))

    return make


@pytest.mark.thorough
@pytest.mark.parametrize("case", only(CASES, "int8"))
def test_every_artifact_is_as_close_to_its_reference_as_with_float32(case: str, quantised: Quantised) -> None:
    _, built = quantised(case)
    assert built.parity.passed
    assert len(built.parity.artifacts) == 6
    assert all(artifact.worst.relative_l2 < 1e-5 for artifact in built.parity.artifacts)
    noise = read_golden(built.path).noise["logits"]
    assert noise.max() < 1e-5  # taking bytes apart is exact: nothing of it counts as what float32 may lose
    assert spec_of(read_manifest(built.path)).hypernet.basis_dtype is CASES[case][0]


@pytest.mark.thorough
@pytest.mark.parametrize("case", only(CASES, "int8"))
def test_other_runtimes_make_the_same_bases(case: str, quantised: Quantised) -> None:
    report = verify(quantised(case)[1].path, VerifyOptions(artifacts=("openvino", "onnx-reference"), trust=True))
    assert report.passed
    assert all(artifact.worst.relative_l2 < 1e-5 for artifact in report.artifacts)


@pytest.mark.parametrize("case", only(CASES, "int8"))
def test_every_strategy_and_engine_predicts_the_same(case: str, quantised: Quantised) -> None:
    path = quantised(case)[1].path
    golden = read_golden(path)
    for options in (
        {"strategy": "generated"},
        {"strategy": "materialised"},
        {"engine": "openvino"},
        {"engine": "openvino", "strategy": "generated"},
    ):
        ensemble = load(path, **options)
        for row, member in enumerate(golden.members):
            found = np.asarray(ensemble.predict(golden.inputs["image"][:2], member=int(member)))
            assert np.allclose(found, golden.outputs["logits"][row][:2], rtol=1e-3, atol=1e-4), options


@pytest.mark.parametrize("case", only(CASES, "int8"))
def test_the_bases_and_nothing_else_are_integers_in_every_file(case: str, quantised: Quantised) -> None:
    _, built = quantised(case)
    table = stored_tensors(spec_of(built.manifest))
    bases = {item.name for item in table if item.kind is StoredKind.BASIS}
    scales = {item.name for item in table if item.kind is StoredKind.BASIS_SCALES}
    assert len(bases) == len(scales) > 0
    for file in ("model.onnx", "ensemble.onnx", "hypernet.onnx"):
        graph = onnx.load(built.path / file, load_external_data=False).graph
        kinds = {one.name: one.data_type for one in graph.initializer if one.data_location == TensorProto.EXTERNAL}
        assert {name for name, kind in kinds.items() if kind == KINDS[CASES[case][0]]} == bases
        assert {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16} == scales
    for file_format in Format:
        one = dataclasses.replace(built.manifest, formats=(file_format,))
        restored = restore_tensors(built.path, one, lambda path, one=one: program_tensors(path, one, OURS))  # type: ignore[misc] # mypy cannot infer the lambda
        assert {name for name, tensor in restored.items() if not tensor.is_floating_point()} == bases


@pytest.mark.parametrize("case", only(CASES, "int8"))
def test_what_rounding_changed_is_that_of_float64_and_is_kept_in_the_manifest(case: str, quantised: Quantised) -> None:
    exact, built = quantised(case)
    golden, rounding = read_golden(built.path), read_manifest(built.path).basis_rounding
    reference = Pipeline(exact.spec, {name: tensor.double() for name, tensor in exact.tensors.items()}).double()
    worst, same = 0.0, []
    for member in rounding.members:
        logits = reference(torch.tensor(member), torch.from_numpy(golden.inputs["image"]).double()).numpy()
        known = golden.outputs["logits"][member]
        worst = max(worst, (np.linalg.norm(logits - known, axis=1) / np.linalg.norm(known, axis=1)).max())
        same += list(logits.argmax(1) == known.argmax(1))
    assert 1e-3 < rounding.bases < 0.1
    assert rounding.agreement == pytest.approx(np.mean(same))
    assert rounding.logits == pytest.approx(worst, rel=0.5)  # of the other one's rows


def test_weights_are_counted_as_those_of_float32(quantised: Quantised) -> None:
    exact, built = quantised("int4, odd rows")
    ours = family("wide-resnet")
    assert ours.counts(built.manifest) == ours.counts(exact.ensemble())


def test_a_checkpoint_of_integers_is_saved_read_and_built_as_it_is(quantised: Quantised, tmp_path: Path) -> None:
    exact, built = quantised("int8")
    save_checkpoint(tmp_path / "c.safetensors", exact.with_bases(BasisDtype.INT8))
    found = load_checkpoint(tmp_path / "c.safetensors")
    again = build(found, tmp_path / "again", options=BuildOptions(formats=(Format.ONNX,), bases=BasisDtype.INT8))
    assert again.manifest.basis_rounding is None
    assert (again.path / "weights.bin").read_bytes() == (built.path / "weights.bin").read_bytes()


@pytest.mark.parametrize(("case", "artifact"), first(1, [("int8", "onnx"), ("int4, odd rows", "onnx-materialised")]))
def test_one_integer_that_is_another_is_caught_and_placed(
    case: str, artifact: str, quantised: Quantised, tmp_path: Path
) -> None:
    bundle = shutil.copytree(quantised(case)[1].path, tmp_path / "bundle")
    (tensor,) = [
        tensor
        for tensor in onnx.load(bundle / "model.onnx", load_external_data=False).graph.initializer
        if tensor.name == "hypernet.group3.basis"
    ]
    place: Any = ExternalDataInfo(tensor)
    values = np.memmap(bundle / place.location, np.uint8, "r+", place.offset, (place.length,))
    values[7] ^= 4
    values.flush()
    rewrite_checksums(bundle)
    report = verify(bundle, VerifyOptions(artifacts=(artifact,), trust=True))
    failed = {check.name for check in report.artifacts[0].checks if not check.passed}
    assert {"stored tensors are those of the build", "every layer gets its member's tensors"} <= failed
    if artifact == "onnx":
        located = locate(bundle, artifact, trust=True)
        assert located.first is not None
        assert located.first.place.startswith("hypernet.group3.chunk")


@pytest.mark.thorough
def test_rounding_that_changes_more_than_is_allowed_publishes_nothing(quantised: Quantised, tmp_path: Path) -> None:
    exact, _ = quantised("int8")
    some = BuildOptions(bases=BasisDtype.INT4, formats=(Format.ONNX,))
    with pytest.raises(
        RoundedTooMuchError, match=r"changed an output by .*allowed 1e-05: store the bases in more bits"
    ):
        build(exact, tmp_path / "bundle", options=dataclasses.replace(some, max_logit_change=1e-5))
    assert not list(tmp_path.iterdir())


def test_fewer_answers_alike_than_were_asked_for_are_refused() -> None:
    found = BasisRounding(bases=0.1, logits=0.1, members=(0,), agreement=0.98)
    check_rounding(found, most_change=0.1, least_agreement=0.98)
    with pytest.raises(RoundedTooMuchError, match="98.00% of the rows have the same largest class, .* 99.00%: store"):
        check_rounding(found, most_change=None, least_agreement=0.99)
    with pytest.raises(SpecError, match="no output is of logits"):
        check_rounding(dataclasses.replace(found, agreement=None), most_change=None, least_agreement=0.99)


def test_integers_are_not_trained(quantised: Quantised) -> None:
    rounded = quantised("int8")[0].with_bases(BasisDtype.INT8)
    with pytest.raises(SpecError, match="train in float32"):
        rounded.ensemble().trainable().train()


@pytest.mark.parametrize("case", only(CASES, "int8"))
def test_tract_makes_the_same_bases(case: str, quantised: Quantised, tmp_path: Path) -> None:
    bundle = quantised(case)[1].path
    golden = read_golden(bundle)
    members = [int(member) for member in golden.members]
    calls = [{COND_ID: np.array(member), "image": golden.inputs["image"]} for member in members]
    found = in_tract(Job(graph=bundle / MODEL_FILE, calls=calls), tmp_path / "calls")
    for row, outputs in enumerate(found):
        assert row_errors(outputs["logits"], golden.outputs["logits"][row]).max() < 1e-5


@pytest.mark.parametrize("dtype", [BasisDtype.INT8, BasisDtype.INT4])
def test_what_has_no_bases_says_so_and_what_else_is_in_fewer_bits(dtype: BasisDtype, tmp_path: Path) -> None:
    for source, why in (
        (ENSEMBLES["cnn"].ensemble(), "generates nothing: it has no bases to store in"),
        (HYPERNETWORKS["both"].ensemble(), "has a hypernetwork of its own, stored as it is: it has no bases to store"),
    ):
        with pytest.raises(SpecError, match=f"{why}.*`hnexport tune BUNDLE --precision int8 --calibration IMAGES`"):
            build(source, tmp_path / "bundle", options=BuildOptions(bases=dtype))
    assert not list(tmp_path.iterdir())
