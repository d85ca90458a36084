"""The three ONNX files."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ensembles import of_pipeline
from fixture_types import MakeImages, MakeNetwork, MakePipeline, MakeSpec
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo
from thorough import only

from hnexport.export import capture, write_onnx
from hnexport.export.onnx import OnnxFiles
from hnexport.export.weights_file import rearranged
from hnexport.hypernet.storage import ALIGNMENT_BYTES
from hnexport.names import SUPPLIED_FILE as SUPPLIED
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, ImageLayout, PreprocessSpec, Recipe
from hnexport.spec import Activation, BasisDtype, Chunking, HypernetSpec, Source

CPU = ["CPUExecutionProvider"]
ALL_GENERATED = Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED)

CASES: dict[str, dict[str, Any]] = {
    "hypernet": {},
    "batch-ensemble": {"recipe": RECIPES["batch-ensemble"]},
    "all generated": {"recipe": ALL_GENERATED},
    "only the output is generated": {
        "recipe": Recipe(convolution=Source.SHARED, norm=Source.SHARED, output=Source.GENERATED)
    },
    "gcd": {"hypernet": HypernetSpec(chunking=Chunking.GCD)},
    "hidden layers": {"hypernet": HypernetSpec(hidden_layers=(9, 6), bias=True, activation=Activation.TANH)},
    "float16 bases": {"hypernet": HypernetSpec(basis_dtype=BasisDtype.FLOAT16)},
    "member statistics": {"member_statistics": True},
    "biases": {"network": {"conv_bias": True}},
    "no output bias": {"network": {"output_bias": False}},
    "no batch norm": {"network": {"batch_norm": False}},
    "one member": {"members": 1},
    "flat images": {"image_layout": ImageLayout.FLAT_HWC},
    "raw images": {
        "image_layout": ImageLayout.NHWC,
        "preprocess": PreprocessSpec(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25)),
    },
}


Write = Callable[[str], tuple[Pipeline, OnnxFiles, Path]]
WRITTEN = ("hypernet", "batch-ensemble", "hidden layers", "raw images")  # in every run, one of each kind


def of(*names: str) -> pytest.MarkDecorator:
    """Cases, of which those that are not `WRITTEN` are `thorough`."""
    return pytest.mark.parametrize("case", only(names, *(name for name in names if name in WRITTEN)))


@pytest.fixture(scope="module")
def write(
    make_spec: MakeSpec,
    make_network: MakeNetwork,
    make_pipeline: MakePipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> Write:
    """Write the files of a case, once; tests only read them."""

    @functools.cache
    def write(case: str) -> tuple[Pipeline, OnnxFiles, Path]:
        changes = dict(CASES[case])
        if "network" in changes:
            changes["network"] = make_network(**changes["network"])
        pipeline, folder = make_pipeline(make_spec(**changes)), tmp_path_factory.mktemp("onnx")
        return pipeline, write_onnx(capture(of_pipeline(pipeline)), folder, {"note": "kept"}), folder

    return write


def run(
    path: Path, feed: dict[Any, Any] | dict[str, NDArray[Any]], options: Any = None, names: list[Any] | None = None
) -> dict[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), options, providers=CPU)
    return dict(zip(names or [output.name for output in session.get_outputs()], session.run(names, feed), strict=True))


@of(*CASES)
def test_the_model_computes_every_member(case: str, write: Write, make_images: MakeImages) -> None:
    pipeline, _, folder = write(case)
    images = make_images(pipeline.spec, batch=3)
    for member in range(pipeline.spec.members):
        logits = run(folder / "model.onnx", {"cond_id": np.array(member), "image": images.numpy()})["logits"]
        expected = pipeline(torch.tensor(member), images).numpy()
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@of(*CASES)
def test_the_hypernet_gives_every_weight_by_name_and_the_network_takes_them(
    case: str, write: Write, make_images: MakeImages
) -> None:
    pipeline, files, folder = write(case)
    images, member = make_images(pipeline.spec, batch=2), pipeline.spec.members - 1
    weights = run(folder / "hypernet.onnx", {"cond_id": np.array(member)})
    expected = pipeline.weights(member)
    assert list(weights) == [slot.name for slot in network_slots(pipeline.spec.network)]
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, expected[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    options = onnxruntime.SessionOptions()
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(weights[name]) for name in files.supplied]
    options.add_external_initializers(list(files.supplied), values)
    logits = run(folder / "network.onnx", {"image": images.numpy()}, options)["logits"]
    wanted = pipeline(torch.tensor(member), images).numpy()
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@of("hypernet", "batch-ensemble", "only the output is generated", "no output bias")
@pytest.mark.parametrize("cond_id", [-1, 3, 2**63 - 1, -(2**63)])
def test_an_id_that_does_not_exist_gives_nan_and_no_prediction(
    case: str, cond_id: int, write: Write, make_images: MakeImages
) -> None:
    pipeline, _, folder = write(case)
    feed = {"cond_id": np.array(cond_id), "image": make_images(pipeline.spec).numpy()}
    assert np.isnan(run(folder / "model.onnx", feed)["logits"]).all()
    weights = run(folder / "hypernet.onnx", {"cond_id": feed["cond_id"]})
    output = "output.bias" if pipeline.spec.network.output_bias else "output.weight"
    assert np.isnan(weights[output]).all()


@of("hypernet", "batch-ensemble", "gcd", "raw images")
def test_only_standard_operators_are_used(case: str, write: Write) -> None:
    _, files, folder = write(case)
    for name in ("model.onnx", "hypernet.onnx", "network.onnx"):
        model = onnx.load(folder / name, load_external_data=False)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", files.opset)]
        assert {node.domain for node in model.graph.node} == {""}
        assert not model.functions
        assert {entry.key: entry.value for entry in model.metadata_props}["note"] == "kept"
        assert model.producer_name == "hnexport"


def test_the_signature_is_a_scalar_id_and_a_batch_of_any_size(write: Write) -> None:
    _, _, folder = write("hypernet")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=CPU)
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("cond_id", "tensor(int64)", []),
        ("image", "tensor(float)", ["batch", 3, 8, 8]),
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [("logits", "tensor(float)", ["batch", 5])]


@of("hypernet", "batch-ensemble", "all generated", "hidden layers", "float16 bases", "raw images")
def test_names_show_layer_and_role(case: str, write: Write) -> None:
    pipeline, _, folder = write(case)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    names = [node.name for node in model.graph.node]
    values = [value for node in model.graph.node for value in node.output]
    assert len(set(names)) == len(names)
    assert len(set(values)) == len(values)
    modules = {slot.name.rpartition(".")[0] for slot in network_slots(pipeline.spec.network)}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "BatchNormalization", "Gemm")]
    found, scopes = ({node.name.partition("/")[0] for node in nodes} for nodes in (layers, model.graph.node))
    assert found <= modules <= scopes
    own = {module for module in modules if "norm" in module and f"shared.{module}.weight" not in pipeline.tensors()}
    assert found == modules - own  # a norm whose parameters are computed is spelled out
    for node in layers:
        module = node.name.partition("/")[0]
        roles = ("weight", "bias", "running_mean", "running_var")
        for role, value in zip(roles, node.input[1:], strict=False):
            assert value in (f"{module}.{role}", f"shared.{module}.{role}"), f"{node.name} takes {value}"
    tops = {name.partition("/")[0].partition(".")[0] for name in names}
    assert tops <= {
        "cond_id",
        "hypernet",
        "weights",
        "network",
        "group1",
        "group2",
        "group3",
        "input",
        "norm",
        "pool",
        "output",
    }


def test_equal_tensors_are_not_tied(make_spec: MakeSpec, tmp_path: Path) -> None:
    """A fresh network's shifts and means are all zero: the exporter's own optimiser would merge them into one."""
    from hnexport.networks.wide_resnet.pipeline import Pipeline

    pipeline = Pipeline.from_seed(make_spec())
    write_onnx(capture(of_pipeline(pipeline)), tmp_path, {})
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    held = {tensor.name for tensor in model.graph.initializer}
    assert set(pipeline.tensors()) <= held


def test_the_three_files_share_one_copy_of_the_weights(write: Write) -> None:
    pipeline, files, folder = write("hypernet")
    stored = {name: tensor.numpy() for name, tensor in rearranged(of_pipeline(pipeline)).items()}
    raw = (folder / "weights.bin").read_bytes()
    found = set()
    for name in ("model.onnx", "hypernet.onnx", "network.onnx"):
        assert (folder / name).stat().st_size < 100_000
        for tensor in onnx.load(folder / name, load_external_data=False).graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                continue
            place = ExternalDataInfo(tensor)
            if place.location == SUPPLIED:
                assert tensor.name in files.supplied
                continue
            assert place.location == "weights.bin"
            offset: Any = place.offset  # onnx says None
            assert offset % ALIGNMENT_BYTES == 0
            values = np.frombuffer(raw[offset:][: place.length], np.float32).reshape(tensor.dims)
            np.testing.assert_array_equal(values, stored[tensor.name])
            found.add(tensor.name)
    assert found == set(stored)


def test_every_file_but_the_open_network_passes_the_full_check(write: Write) -> None:
    _, _, folder = write("hypernet")
    for name in ("model.onnx", "hypernet.onnx"):
        onnx.checker.check_model(folder / name, full_check=True)


@of("hypernet", "batch-ensemble", "all generated", "raw images")
def test_a_file_with_a_members_tensors_one_after_the_other_completes_the_network(
    case: str, write: Write, make_images: MakeImages, tmp_path: Path
) -> None:
    """For runtimes without `add_external_initializers`: the plain file is all that `network.onnx` needs."""
    pipeline, files, folder = write(case)
    images, member = make_images(pipeline.spec).numpy(), pipeline.spec.members - 1
    weights = run(folder / "hypernet.onnx", {"cond_id": np.array(member)}, names=list(files.supplied))
    for name in ("network.onnx", "weights.bin"):
        shutil.copy(folder / name, tmp_path)
    (tmp_path / SUPPLIED).write_bytes(b"".join(weights[name].astype("<f4").tobytes() for name in files.supplied))
    logits = run(tmp_path / "network.onnx", {"image": images})["logits"]
    expected = pipeline(torch.tensor(member), torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    onnx.checker.check_model(tmp_path / "network.onnx", full_check=True)
    (tmp_path / SUPPLIED).write_bytes((tmp_path / SUPPLIED).read_bytes()[:-4])
    with pytest.raises(Exception, match="out of bounds|External"):
        run(tmp_path / "network.onnx", {"image": images})


@of("hypernet", "batch-ensemble", "flat images", "raw images")
@pytest.mark.parametrize("file", ["model", "ensemble", "hypernet", "network"])
def test_the_batch_axis_has_one_name_in_every_shape(case: str, file: str, write: Write) -> None:
    _, _, folder = write(case)
    graphs = [onnx.load(folder / f"{file}.onnx", load_external_data=False).graph]
    graphs += [item.g for node in graphs[0].node for item in node.attribute if item.name == "body"]
    values = [value for graph in graphs for value in (*graph.input, *graph.output, *graph.value_info)]
    names = {dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim if dim.dim_param}
    assert names <= {"batch", "member"}, names


@of("hypernet", "batch-ensemble")
@pytest.mark.parametrize("file", ["model", "ensemble"])
def test_a_graph_loads_from_memory(case: str, file: str, write: Write, make_images: MakeImages) -> None:
    pipeline, _, folder = write(case)
    options = onnxruntime.SessionOptions()
    data = (folder / "weights.bin").read_bytes()
    options.add_external_initializers_from_files_in_memory(["weights.bin"], [data], [len(data)])
    session = onnxruntime.InferenceSession((folder / f"{file}.onnx").read_bytes(), options, providers=CPU)
    image = make_images(pipeline.spec).numpy()
    feed = {"image": image, **({"cond_id": np.array(1)} if file == "model" else {"cond_ids": np.array([1])})}
    expected = run(folder / f"{file}.onnx", feed)
    np.testing.assert_array_equal(session.run(list(expected)[:1], feed)[0], next(iter(expected.values())))


@pytest.mark.parametrize("file", ["model", "ensemble", "network"])
def test_a_folder_of_symbolic_links_loads_as_in_a_model_hubs_cache(file: str, write: Write, tmp_path: Path) -> None:
    _, files, folder = write("hypernet")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for number, path in enumerate(sorted(folder.glob("*.*"))):
        shutil.copy(path, tmp_path / "blobs" / str(number))
        (tmp_path / "snapshot" / path.name).symlink_to(f"../blobs/{number}")
    options = onnxruntime.SessionOptions()
    if file == "network":
        weights = run(folder / "hypernet.onnx", {"cond_id": np.array(0)}, names=list(files.supplied))
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
    onnxruntime.InferenceSession(str(tmp_path / "snapshot" / f"{file}.onnx"), options, providers=CPU)


@of("hypernet", "batch-ensemble")
def test_the_guard_compares_and_clamps_no_scalars(case: str, write: Write) -> None:
    """CoreML converts Clip, Equal and Where of one-element tensors only."""
    _, _, folder = write(case)
    graph = onnx.shape_inference.infer_shapes(onnx.load(folder / "model.onnx", load_external_data=False)).graph
    shapes = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.value_info, *graph.input)}
    guards = [node for node in graph.node if node.op_type in ("Clip", "Equal", "Where", "Max", "Min")]
    assert guards
    assert all(shapes[node.output[0]] == 1 for node in guards), [(node.op_type, node.name) for node in guards]
