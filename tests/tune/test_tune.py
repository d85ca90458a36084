"""The graph that is folded for this machine: made, verified, cached, and never used for another one."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import spec_of
from fixture_types import MakeTensors
from numpy.typing import NDArray
from onnx import numpy_helper
from shared import Built, build_once
from thorough import first

from hnexport.build import BuildOptions, build
from hnexport.bundle import Format, read_manifest
from hnexport.errors import TuneError, TuneFailedError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, Recipe, WideResNetSpec
from hnexport.runtime import tuned as cache
from hnexport.runtime.folded import FoldedNetwork
from hnexport.runtime.tuned import find_tuned, tuned_folder
from hnexport.spec import HypernetSpec, Source
from hnexport.tune import tune
from hnexport.tune.blocked import blocked_network

ONNX_ALONE = BuildOptions(formats=(Format.ONNX,))


def test_a_tuned_graph_computes_every_member_and_copies_no_activation(wide: Built) -> None:
    manifest = read_manifest(wide.path)
    assert find_tuned(manifest) is None
    tuned = tune(wide.path)
    assert tuned.parity is not None
    assert tuned.parity.passed
    assert [item.member for item in tuned.parity.comparisons] == [0, 1, 2]
    assert find_tuned(manifest) == tuned.path
    folded = FoldedNetwork(tuned.path)
    portable = onnxruntime.InferenceSession(str(wide.path / "model.onnx"), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    for member in range(3):
        expected = portable.run(None, {"cond_id": np.array(member), "image": image})[0]
        found = folded.materialise(member)({"image": image})["logits"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert np.isnan(folded.materialise(3)({"image": image})["logits"]).all()
    graph = onnx.load(tuned.path / "folded-network.onnx", load_external_data=False).graph
    counts = [node.op_type for node in graph.node if node.domain == "com.microsoft.nchwc"]
    assert counts.count("Conv") >= 15
    assert counts.count("ReorderInput") + counts.count("ReorderOutput") <= 2
    assert not {"Concat", "Transpose", "BatchNormalization"} & {node.op_type for node in graph.node}


def test_float16_bases_stay_float16_until_a_block_is_multiplied(wide: Built) -> None:
    """A Cast outside of a Scan would be folded by onnxruntime into a float32 copy of the whole basis."""
    folder, hypernet = tune(wide.path).path, spec_of(wide.manifest).hypernet
    graph = onnx.load(folder / "folded-hypernet.onnx", load_external_data=False).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer if tensor.name.endswith(".folded")}
    half = hypernet.basis_dtype == "float16"
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT}
    assert not [node for node in graph.node if node.op_type == "Cast" and node.input[0] in kinds]
    bodies = [node.attribute[0].g for node in graph.node if node.op_type == "Scan"]
    assert [[node.op_type for node in body.node].count("Cast") for body in bodies] == [int(half)] * len(bodies)
    assert len(bodies) == len(kinds) or not half


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_it_is_made_once_unless_forced(wide: Built) -> None:
    first = tune(wide.path)
    assert tune(wide.path).parity is None
    assert tune(wide.path, force=True).parity is not None
    assert first.path == tuned_folder(read_manifest(wide.path))
    assert sorted(path.name for path in first.path.parent.iterdir()) == [first.path.name]


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_another_version_processor_or_bundle_does_not_get_it(
    wide: Built,
    monkeypatch: pytest.MonkeyPatch,
    make_tensors: MakeTensors,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tune(wide.path)
    manifest = read_manifest(wide.path)
    tensors = make_tensors(spec_of(wide.manifest), 1)
    another = Checkpoint(spec=spec_of(wide.manifest), tensors=tensors, origin="another")
    other = build(another, tmp_path / "other", options=ONNX_ALONE)
    assert find_tuned(other.manifest) is None
    here = cache.machine()
    for elsewhere in ("9.99.9\n" + here.partition("\n")[2], here.replace("flags", "flags\t: none, not")):
        assert elsewhere != here or "flags" not in here
        monkeypatch.setattr(cache, "machine", lambda elsewhere=elsewhere: elsewhere + " ")
        with caplog.at_level(logging.INFO, "hnexport.runtime.tuned"):
            assert find_tuned(manifest) is None
        assert "no tuned graph" in caplog.text
        caplog.clear()


def flip(path: Any, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)


def scale_embedding(path: Any) -> None:
    model = onnx.load(path, load_external_data=False)
    tensor = next(one for one in model.graph.initializer if "embedding" in one.name)
    tensor.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(tensor), tensor.name))
    path.write_bytes(model.SerializeToString())


def edit_record(path: Any, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def become_fifo(path: Any) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "a record of another key": lambda entry: edit_record(entry / "tuned.json", key="0" * 32),
    "a record without files": lambda entry: edit_record(entry / "tuned.json", files={}),
    "a record that is cut": lambda entry: (entry / "tuned.json").write_bytes(b'{"key": '),
    "a deep record": lambda entry: (entry / "tuned.json").write_bytes(b"[" * 100_000),
    "a record that is a FIFO": lambda entry: become_fifo(entry / "tuned.json"),
    "weights that are cut": lambda entry: os.truncate(entry / "folded.bin", 1000),
    "a flipped bit of the weights": lambda entry: flip(entry / "folded.bin", 4098),
    "a scaled embedding": lambda entry: scale_embedding(entry / "folded-hypernet.onnx"),
    "no graph": lambda entry: (entry / "folded-network.onnx").write_bytes(b"not a graph"),
}


@pytest.mark.parametrize("damage", first(3, DAMAGES))
@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_a_damaged_cache_is_not_used_and_made_again(damage: str, wide: Built, caplog: pytest.LogCaptureFixture) -> None:
    tuned = tune(wide.path)
    manifest = read_manifest(wide.path)
    DAMAGES[damage](tuned.path)
    assert find_tuned(manifest) is None
    assert "is not used" in caplog.text
    assert tune(wide.path).parity is not None
    assert find_tuned(manifest) is not None


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_a_graph_that_differs_is_not_cached(wide: Built, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """One kernel element in the wrong place must not reach the cache."""
    from hnexport.tune import fold

    def swapped(basis: Any, order: Any) -> NDArray[np.floating]:
        moved = order.copy()
        moved.reshape(-1)[[0, 5]] = moved.reshape(-1)[[5, 0]]
        return PERMUTED(basis, moved)

    PERMUTED = fold._permuted
    monkeypatch.setattr(fold, "_permuted", swapped)
    with pytest.raises(TuneFailedError, match="is not the same: member 0"):
        tune(wide.path)
    assert not [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("recipe", "hypernet", "message"),
    first(
        1,
        [
            (RECIPES["batch-ensemble"], None, "generates no weights"),
            (
                Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.MEMBER),
                HypernetSpec(),
                "which differs between members, into others; it cannot be folded",
            ),
        ],
    ),
    ids=["batch-ensemble", "generated norm"],
)
def test_what_cannot_be_folded_is_said(
    recipe: Recipe, hypernet: HypernetSpec | None, message: str, wide_network: WideResNetSpec, make_tensors: MakeTensors
) -> None:
    spec = PipelineSpec(network=wide_network, members=2, recipe=recipe, hypernet=hypernet)
    built = build_once(Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test"), ONNX_ALONE)
    with pytest.raises(TuneError, match=message):
        tune(built.path)


def test_channels_that_do_not_fill_a_block_are_never_folded_wrongly(built: Built) -> None:
    """Chunks of 12 channels may share blocks of 8 or 16: such an order is refused before anything is compared."""
    try:
        tune(built.path)
    except TuneError as error:
        refusal = str(error)
    else:
        refusal = "cannot be folded, but it was, and passed"
    assert "cannot be folded" in refusal


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_every_kernel_element_is_found_once(wide: Built) -> None:
    shapes = {"input.weight": (16, 3, 3, 3)}
    others = {
        name: tuple(tensor.dims)
        for tensor in onnx.load(wide.path / "network.onnx", load_external_data=False).graph.initializer
        for name in [tensor.name]
        if name in wide.manifest.onnx.supplied and name not in shapes
    }
    network = blocked_network(wide.path / "network.onnx", shapes, others)
    positions = network.positions["input.weight"]
    np.testing.assert_array_equal(np.sort(positions[positions >= 0]), np.arange(16 * 27))


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_the_bundle_is_not_touched(wide: Built, tmp_path: Path) -> None:
    copy = shutil.copytree(wide.path, tmp_path / "bundle")
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    tune(copy)
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before
