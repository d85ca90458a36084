"""Bundles whose bases are float16: the same parity as any other, half the size, and honest about what was rounded."""

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
from onnx import TensorProto
from onnx.external_data_helper import ExternalDataInfo
from shared import Built
from thorough import only

from hnexport.build import BuildOptions, BuildResult, build
from hnexport.bundle import Format, read_golden, read_manifest
from hnexport.bundle.restore import restore_tensors
from hnexport.confine.trust import Trust
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import Recipe
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate
from hnexport.parity.programs import program_tensors
from hnexport.spec import Activation, BasisDtype, Chunking, HypernetSpec, Source, StoredKind

HALF = BuildOptions(bases=BasisDtype.FLOAT16)
CASES: dict[str, dict[str, Any]] = {
    "linear": {},
    "hidden layers with biases": {"hypernet": HypernetSpec(hidden_layers=(6,), bias=True, activation=Activation.TANH)},
    "gcd": {"hypernet": HypernetSpec(chunking=Chunking.GCD)},
    "generated norm": {"recipe": Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED)},
}
FILES = ("model.onnx", "ensemble.onnx", "hypernet.onnx", "network.onnx")


Half = Callable[[str], tuple[Checkpoint, BuildResult]]


@pytest.fixture(scope="module")
def half(make_spec: MakeSpec, make_tensors: MakeTensors, tmp_path_factory: pytest.TempPathFactory) -> Half:
    """The checkpoint in float32 and the build with float16 bases of a case, made once."""

    @functools.cache
    def make(case: str) -> tuple[Checkpoint, BuildResult]:
        spec = make_spec(**CASES[case])
        checkpoint = Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")
        return checkpoint, build(checkpoint, tmp_path_factory.mktemp("half") / "bundle", options=HALF)

    return make


@pytest.mark.thorough
@pytest.mark.parametrize("case", only(CASES, "linear"))
def test_every_artifact_is_as_close_to_its_reference_as_with_float32(case: str, half: Half) -> None:
    _, built = half(case)
    assert built.parity.passed
    assert {artifact.artifact for artifact in built.parity.artifacts} == {
        *("onnx", "onnx-materialised", "torchscript", "pt2", "onnx-ensemble", "torchscript-ensemble")
    }
    assert all(artifact.worst.relative_l2 < 1e-5 for artifact in built.parity.artifacts)
    assert spec_of(read_manifest(built.path)).hypernet.basis_dtype is BasisDtype.FLOAT16


OURS = Trust(everything=True)


@pytest.mark.parametrize("case", only(CASES, "linear"))
def test_the_bases_and_nothing_else_are_float16_in_every_file(case: str, half: Half) -> None:
    _, built = half(case)
    bases = {stored.name for stored in stored_tensors(spec_of(built.manifest)) if stored.kind is StoredKind.BASIS}
    for file in FILES:
        graph = onnx.load(built.path / file, load_external_data=False).graph
        stored = [tensor for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
        halves = {tensor.name for tensor in stored if tensor.data_type == TensorProto.FLOAT16}
        assert halves == (set() if file == "network.onnx" else bases)
        assert {tensor.data_type for tensor in stored if tensor.name not in bases} <= {TensorProto.FLOAT}
    for file_format in Format:
        one = dataclasses.replace(built.manifest, formats=(file_format,))
        restored = restore_tensors(built.path, one, lambda path, one=one: program_tensors(path, one, OURS))  # type: ignore[misc] # mypy cannot infer the lambda
        assert {name for name, tensor in restored.items() if tensor.dtype is torch.float16} == bases
        assert {tensor.dtype for name, tensor in restored.items() if name not in bases} == {torch.float32}


def test_the_files_are_half_as_large(half: Half, built: Built) -> None:
    _, halved = half("linear")
    saved = sum(
        stored.size * 2 for stored in stored_tensors(spec_of(halved.manifest)) if stored.kind is StoredKind.BASIS
    )
    for file in ("weights.bin", "model.pt", "model.pt2"):
        before, after = ((result.path / file).stat().st_size for result in (built, halved))
        assert abs(before - after - saved) < 4096 * 2 + 0.05 * saved, file


@pytest.mark.parametrize("case", only(CASES, "linear"))
def test_the_effect_of_rounding_is_that_of_float64_and_is_kept_in_the_manifest(case: str, half: Half) -> None:
    exact, built = half(case)
    golden, rounding = read_golden(built.path), read_manifest(built.path).basis_rounding
    assert rounding == built.manifest.basis_rounding
    assert rounding.members == (0, 1, 2)
    reference = Pipeline(exact.spec, {name: tensor.double() for name, tensor in exact.tensors.items()}).double()
    worst = 0.0
    for member in rounding.members:
        logits = reference(torch.tensor(member), torch.from_numpy(golden.inputs["image"]).double()).numpy()
        difference = np.linalg.norm(logits - golden.outputs["logits"][member], axis=1) / np.linalg.norm(logits, axis=1)
        worst = max(worst, difference.max())
    assert rounding.logits == pytest.approx(worst, rel=1e-6)
    assert 1e-5 < rounding.logits < 1e-1
    assert 1e-4 < rounding.bases < 2**-11


def test_bases_that_were_float16_already_are_not_rounded_again(half: Half, tmp_path: Path) -> None:
    exact, built = half("linear")
    rounded = exact.with_bases(BasisDtype.FLOAT16)
    again = build(rounded, tmp_path / "again", options=dataclasses.replace(HALF, formats=(Format.ONNX,)))
    assert again.manifest.basis_rounding is None
    assert (again.path / "weights.bin").read_bytes() == (built.path / "weights.bin").read_bytes()


@pytest.mark.parametrize("artifact", ["onnx", "onnx-materialised"])
def test_one_element_of_a_basis_that_is_a_percent_off_is_caught_and_placed(
    artifact: str, half: Half, tmp_path: Path
) -> None:
    bundle = shutil.copytree(half("linear")[1].path, tmp_path / "bundle")
    (tensor,) = [
        tensor
        for tensor in onnx.load(bundle / "model.onnx", load_external_data=False).graph.initializer
        if tensor.name == "hypernet.group3.basis"
    ]
    place: Any = ExternalDataInfo(tensor)
    values = np.memmap(bundle / place.location, "<f2", "r+", place.offset, (place.length // 2,))
    element = int(np.abs(values).argmax())
    values[element] = np.float16(values[element] * np.float16(1.01))
    values.flush()
    rewrite_checksums(bundle)
    report = verify(bundle, VerifyOptions(artifacts=(artifact,), trust=True))
    assert not report.passed
    failed = {check.name for check in report.artifacts[0].checks if not check.passed}
    assert {"stored tensors are those of the build", "every layer gets its member's tensors"} <= failed
    if artifact == "onnx":
        located = locate(bundle, artifact, trust=True)
        assert located.first is not None
        assert located.first.place.startswith("hypernet.group3.chunk")
