"""The float16 graph: what is made, when it is refused, and what the runtime and the command do with it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from fixture_types import MakeSpec, MakeTensors
from numpy.typing import NDArray
from shared import Built

from hnexport.bench.plain import write_plain
from hnexport.build import BuildOptions, build
from hnexport.bundle import Format, read_golden, read_manifest
from hnexport.cli.main import cli
from hnexport.errors import ProviderError, RuntimeInputError, TuneError, TuneFailedError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.parity import tolerances
from hnexport.runtime import Precision, load
from hnexport.runtime.golden_check import LOAD_TOLERANCES
from hnexport.runtime.half import HALF_RECORD_FILE, find_half, half_folder
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.tune import halve

LIMIT = tolerances.TOLERANCES[tolerances.Precision.FLOAT16].relative_l2


def largest_error(logits: NDArray[np.generic], reference: Any) -> float:
    return float((np.linalg.norm(logits - reference, axis=-1) / np.linalg.norm(reference, axis=-1)).max())


def test_every_member_is_near_and_the_graph_is_float16(built: Built) -> None:
    made = halve(built.path)
    assert made.parity.passed
    path = find_half(built.manifest)
    golden = read_golden(built.path)
    engine = OnnxruntimeEngine(built.path, built.manifest, "cpu", 1, precision=Precision.FLOAT16)
    predict = engine.generate()
    errors = [largest_error(predict(m, golden.inputs)["logits"], golden.outputs["logits"][m]) for m in range(3)]
    assert 1e-5 < max(errors) < LIMIT
    kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    floats = sum(stored.size_bytes for stored in built.manifest.stored)
    assert 0.4 * floats < path.stat().st_size < 0.8 * floats


def test_a_member_that_does_not_exist_is_nan_in_float16_too(built: Built) -> None:
    halve(built.path)
    session = onnxruntime.InferenceSession(str(find_half(built.manifest)), providers=["CPUExecutionProvider"])
    images = read_golden(built.path).inputs["image"]
    for member in (-1, 3, 2**32, -(2**63)):
        assert np.isnan(session.run(None, {"cond_id": np.array(member), "image": images})[0]).all()


def test_what_the_cache_holds_is_not_made_again_unless_it_is_damaged_or_asked_for(built: Built) -> None:
    halve(built.path)
    assert halve(built.path).parity is None
    assert halve(built.path, force=True).parity is not None
    find_half(built.manifest).write_bytes(b"short")
    assert find_half(built.manifest) is None
    assert halve(built.path).parity is not None


def test_what_somebody_put_into_an_entrys_folder_is_never_removed(built: Built) -> None:
    folder = halve(built.path).path
    (folder / "thesis.txt").write_text("precious")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TuneError, match=r"holds thesis\.txt, which hnexport did not write: move it away"):
        halve(built.path, force=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"], ids=repr)
def test_a_record_that_cannot_be_read_is_no_graph(built: Built, content: str) -> None:
    halve(built.path)
    (half_folder(built.manifest) / HALF_RECORD_FILE).write_text(content)
    assert find_half(built.manifest) is None


def test_another_bundle_has_another_key(built: Built) -> None:
    files = dict(built.manifest.files)
    files["weights.bin"] = replace(files["weights.bin"], sha256="0" * 64)
    assert half_folder(replace(built.manifest, files=files)) != half_folder(built.manifest)


def test_numbers_that_leave_the_range_of_float16_are_found_and_nothing_is_cached(
    make_spec: MakeSpec, make_tensors: MakeTensors, tmp_path: Path
) -> None:
    spec = make_spec()
    tensors = make_tensors(spec)
    name = next(name for name in tensors if name.endswith("norm.mean") or "mean" in name)
    tensors[name] = tensors[name] + 1e6
    options = BuildOptions(formats=(Format.ONNX,))
    path = build(Checkpoint(spec=spec, tensors=tensors, origin="a test"), tmp_path / "wide", options=options).path
    with pytest.raises(TuneFailedError, match="is not the same in float16"):
        halve(path)
    assert find_half(read_manifest(path)) is None


def test_float16_is_held_to_the_tolerance_of_verify() -> None:
    assert LOAD_TOLERANCES[Precision.FLOAT16].relative_l2 == LIMIT


@pytest.mark.parametrize("strategy", ["materialised", "folded"])
def test_float16_members_are_generated(built: Built, strategy: str) -> None:
    with pytest.raises(RuntimeInputError, match=f"leave out strategy='{strategy}'"):
        load(built.path, provider="cuda", precision="float16", strategy=strategy)
    engine = OnnxruntimeEngine(built.path, built.manifest, "cpu", 1, precision=Precision.FLOAT16)
    with pytest.raises(ProviderError, match="choose strategy='generated'"):
        engine.materialise(0)


def test_without_the_graph_the_message_says_how_to_make_it(built: Built) -> None:
    engine = OnnxruntimeEngine(built.path, built.manifest, "cpu", 1, precision=Precision.FLOAT16)
    with pytest.raises(
        RuntimeInputError, match=r"run `hnexport tune .* --precision float16` once, load with tune=True"
    ):
        engine.generate()


def test_the_command_makes_it_and_tells_its_place(built: Built) -> None:
    arguments = ["tune", str(built.path), "--precision", "float16"]
    made = CliRunner().invoke(cli, arguments)
    assert made.exit_code == 0, made.output
    assert "made and verified" in made.output
    assert made.output.splitlines()[-1] == str(half_folder(built.manifest))
    found = CliRunner().invoke(cli, [*arguments, "--json"])
    assert json.loads(found.stdout)["relative_l2"] is None


def test_the_plain_network_of_the_bench_can_be_float16(built: Built, tmp_path: Path) -> None:
    write_plain(built.path, built.manifest, 1, tmp_path, half=True)
    golden = read_golden(built.path)
    session = onnxruntime.InferenceSession(str(tmp_path / "plain.onnx"), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], dict(golden.inputs))[0]
    assert 1e-5 < largest_error(logits, golden.outputs["logits"][1]) < LIMIT


def test_a_float16_graph_with_a_flipped_bit_is_not_used_and_made_again(built: Built) -> None:
    entry = halve(built.path).path
    data = bytearray((entry / "model-float16.onnx").read_bytes())
    data[len(data) // 2] ^= 0x40
    (entry / "model-float16.onnx").write_bytes(data)
    assert find_half(built.manifest) is None
    assert halve(built.path).parity is not None
    assert find_half(built.manifest) is not None
