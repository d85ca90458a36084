"""Several members in one call: `ensemble.onnx` and the TorchScript method."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ensembles import of_pipeline
from fixture_types import MakeImages, MakePipeline, MakeSpec
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import entropy

from hnexport.export import capture, write_onnx, write_torchscript
from hnexport.export.ensemble import INLINE_BYTES
from hnexport.networks.wide_resnet.spec import RECIPES, ImageLayout, PipelineSpec, PreprocessSpec

CPU = ["CPUExecutionProvider"]
CASES: dict[str, dict[str, Any]] = {
    "hypernet": {},
    "batch-ensemble": {"recipe": RECIPES["batch-ensemble"]},
    "raw images": {
        "image_layout": ImageLayout.NHWC,
        "preprocess": PreprocessSpec(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25)),
    },
}


Write = Callable[[str], tuple[PipelineSpec, Path]]


@pytest.fixture(scope="module")
def write(make_spec: MakeSpec, make_pipeline: MakePipeline, tmp_path_factory: pytest.TempPathFactory) -> Write:
    @functools.cache
    def write(case: str) -> tuple[PipelineSpec, Path]:
        pipeline, folder = make_pipeline(make_spec(**CASES[case])), tmp_path_factory.mktemp("ensemble")
        captured = capture(of_pipeline(pipeline))
        write_onnx(captured, folder, {})
        write_torchscript(captured, folder / "model.pt")
        return pipeline.spec, folder

    return write


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=CPU)


def load(
    kind: str, folder: Path
) -> tuple[Callable[[list[int], NDArray[Any]], list[NDArray[Any]]], Callable[[int, NDArray[Any]], NDArray[Any]]]:
    """`(ensemble, single)`: run several members, run one."""
    if kind == "onnx":
        many, one = session(folder / "ensemble.onnx"), session(folder / "model.onnx")
        return (
            lambda ids, image: many.run(None, {"cond_ids": np.array(ids, dtype=np.int64), "image": image}),
            lambda member, image: one.run(None, {"cond_id": np.array(member), "image": image})[0],
        )
    module = torch.jit.load(str(folder / "model.pt"))

    def ensemble(ids: list[int], image: NDArray[Any]) -> list[Any]:
        return [output.numpy() for output in module.ensemble(torch.tensor(ids), torch.from_numpy(image))]

    return ensemble, lambda member, image: module(torch.tensor(member), torch.from_numpy(image)).numpy()


@pytest.mark.each_once
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ids", [[0], [2, 0], [1, 1, 0, 2, 1, 0, 0]], ids=str)
def test_each_member_is_bit_equal_to_its_single_run(
    kind: str, case: str, ids: list[int], write: Write, make_images: MakeImages
) -> None:
    spec, folder = write(case)
    images = make_images(spec, batch=3).numpy()
    ensemble, single = load(kind, folder)
    logits = ensemble(ids, images)[0]
    np.testing.assert_array_equal(logits, np.stack([single(member, images) for member in ids]))


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_means_and_entropies_are_those_of_scipy(kind: str, write: Write, make_images: MakeImages) -> None:
    spec, folder = write("hypernet")
    ensemble, _ = load(kind, folder)
    logits, mean, predictive, information = ensemble([0, 1, 2], make_images(spec, batch=4).numpy())
    p = softmax(logits.astype(np.float64), axis=-1)
    np.testing.assert_allclose(mean, p.mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(predictive, entropy(p.mean(axis=0), axis=-1), rtol=1e-5, atol=1e-6)
    disagreement = entropy(p.mean(axis=0), axis=-1) - entropy(p, axis=-1).mean(axis=0)
    assert disagreement.max() > 0.01
    np.testing.assert_allclose(information, disagreement, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_certain_members_have_finite_entropies(kind: str, write: Write, make_images: MakeImages) -> None:
    """Images of size 1e4 give logits hundreds apart: probabilities of exactly 0 and 1."""
    spec, folder = write("hypernet")
    ensemble, _ = load(kind, folder)
    logits, mean, predictive, information = ensemble([0, 1, 2], 1e4 * make_images(spec, batch=4).numpy())
    assert np.ptp(logits, axis=-1).min() > 200
    assert (mean == 0).any()
    assert np.isfinite(predictive).all()
    assert np.isfinite(information).all()
    assert (information >= 0).all()
    assert (information <= np.log(3) + 1e-6).all()


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_a_member_alone_disagrees_with_nobody(kind: str, write: Write, make_images: MakeImages) -> None:
    spec, folder = write("hypernet")
    ensemble, _ = load(kind, folder)
    information = ensemble([1], make_images(spec, batch=4).numpy())[3]
    assert (information >= 0).all()
    assert (information < 1e-6).all()


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("unknown", [-1, 3, 2**63 - 1])
def test_an_id_that_does_not_exist_makes_its_logits_and_every_mean_nan(
    kind: str, unknown: int, write: Write, make_images: MakeImages
) -> None:
    spec, folder = write("hypernet")
    ensemble, _ = load(kind, folder)
    logits, *means = ensemble([0, unknown, 2], make_images(spec).numpy())
    assert np.isnan(logits[1]).all()
    assert np.isfinite(logits[[0, 2]]).all()
    for mean in means:
        assert np.isnan(mean).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_no_ids_at_all_are_refused(kind: str, write: Write, make_images: MakeImages) -> None:
    spec, folder = write("hypernet")
    ensemble, _ = load(kind, folder)
    with pytest.raises(Exception, match=r"Scan|stack expects a non-empty TensorList"):
        ensemble(np.array([], dtype=np.int64), make_images(spec).numpy())


def test_what_the_network_takes_is_handed_into_the_scan(write: Write) -> None:
    """OpenVINO takes no body that reads an input of the graph around it."""
    _, folder = write("hypernet")
    graph = onnx.load(folder / "ensemble.onnx", load_external_data=False).graph
    (scan,) = [node for node in graph.node if node.op_type == "Scan"]
    (body,) = [item.g for item in scan.attribute if item.name == "body"]
    read = {name for node in body.node for name in node.input}
    assert {item.name for item in graph.input} == {"cond_ids", "image"} == {*scan.input}
    assert not read & {"cond_ids", "image"}


def test_the_signature_names_every_axis(write: Write) -> None:
    _, folder = write("hypernet")
    loaded = session(folder / "ensemble.onnx")
    assert [(i.name, i.type, i.shape) for i in loaded.get_inputs()] == [
        ("cond_ids", "tensor(int64)", ["member"]),
        ("image", "tensor(float)", ["batch", 3, 8, 8]),
    ]
    names = ("member_logits", "mean_probabilities", "predictive_entropy", "mutual_information")
    shapes = (["member", "batch", 5], ["batch", 5], ["batch"], ["batch"])
    assert [(o.name, o.shape) for o in loaded.get_outputs()] == list(zip(names, shapes, strict=True))


def test_the_ensemble_adds_no_weights_and_only_standard_operators(write: Write) -> None:
    _, folder = write("hypernet")
    model = onnx.load(folder / "ensemble.onnx", load_external_data=False)
    onnx.checker.check_model(folder / "ensemble.onnx", full_check=True)
    assert (folder / "ensemble.onnx").stat().st_size < 100_000
    assert {entry.domain for entry in model.opset_import} == {""}
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    (body,) = [item.g for item in scan.attribute if item.name == "body"]
    inlined = body.initializer
    assert {tensor.name.partition(".")[0] for tensor in inlined} == {"shared"}
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in inlined)
    assert all(onnx.numpy_helper.to_array(tensor).nbytes <= INLINE_BYTES for tensor in inlined)
    single = onnx.load(folder / "model.onnx", load_external_data=False)

    def external(graph: onnx.GraphProto) -> dict[Any, Any]:
        return {
            tensor.name: [(entry.key, entry.value) for entry in tensor.external_data]
            for tensor in graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL
        }

    expected = external(single.graph)
    for tensor in inlined:
        del expected[tensor.name]
    assert external(model.graph) == expected
