"""CUDA's options: what is refused, what reaches onnxruntime, and what `load` makes of them.

Where there is no GPU, `pretend_cuda` (in `conftest`) puts real sessions of the CPU provider in the place of CUDA's.
"""

import dataclasses
from pathlib import Path
from typing import Any, Never

import numpy as np
import onnx
import onnxruntime
import pytest
from fixture_types import AskedSessions, BuiltOnce
from numpy.typing import NDArray

from hnexport.bundle import read_golden
from hnexport.errors import BundleError, ProviderError, RuntimeInputError
from hnexport.parity import tolerances
from hnexport.runtime import AlgorithmSearch, CudaOptions, Precision, Strategy, device, files, load
from hnexport.runtime.golden_check import LOAD_TOLERANCES
from hnexport.tune import halve

ASKED = {
    "nothing": (None, {}),
    "everything": (
        CudaOptions(prefer_nhwc=True, algorithm_search="heuristic", graph=True),
        {"prefer_nhwc": "1", "cudnn_conv_algo_search": "HEURISTIC", "enable_cuda_graph": "1"},
    ),
    "default algorithms": (CudaOptions(algorithm_search="default"), {"cudnn_conv_algo_search": "DEFAULT"}),
}
ALWAYS = {
    "device_id": "0",
    "use_tf32": "0",
    "prefer_nhwc": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "enable_cuda_graph": "0",
}


@pytest.mark.each_once
@pytest.mark.parametrize(("cuda", "settings"), ASKED.values(), ids=ASKED.keys())
@pytest.mark.parametrize(("strategy", "file"), [("generated", "model.onnx"), ("materialised", "network.onnx")])
def test_the_options_reach_onnxruntime_and_predictions_stay(
    shared_bundle: Path,
    images: NDArray[np.float32],
    pretend_cuda: AskedSessions,
    strategy: str,
    file: str,
    cuda: CudaOptions | None,
    settings: dict[str, Any],
) -> None:
    ensemble = load(shared_bundle, provider="cuda", strategy=strategy, check="all", cuda=cuda)
    assert (ensemble.provider, ensemble.precision) == ("cuda", "float32")
    assert {name for name, _ in pretend_cuda} == {file}
    assert all(found == {**ALWAYS, **settings} for _, found in pretend_cuda)
    expected = load(shared_bundle, provider="cpu", strategy=strategy).predict(images, members=range(10))
    for _ in range(2):
        assert np.array_equal(ensemble.predict(images, members=range(10)), expected)


def test_the_device_is_named() -> None:
    assert CudaOptions(device=3).provider_options(tf32=False)["device_id"] == "3"


def test_tf32_is_on_only_by_name_and_has_its_own_tolerance(own_bundle: Path, pretend_cuda: AskedSessions) -> None:
    load(own_bundle, provider="cuda")
    assert pretend_cuda[-1][1]["use_tf32"] == "0"
    ensemble = load(own_bundle, provider="cuda", precision="tf32", check="all")
    assert pretend_cuda[-1][1]["use_tf32"] == "1"
    assert ensemble.precision is Precision.TF32
    assert repr(ensemble).endswith("onnxruntime on cuda, generated, tf32>")


@pytest.mark.parametrize("factor", [1 + 2e-3, 1 + 2e-2], ids=["as TF32 rounds", "more"])
def test_an_error_is_judged_by_the_precision_that_was_asked_for(
    shared_bundle: Path, pretend_cuda: AskedSessions, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    golden = read_golden(shared_bundle)
    coarse = dataclasses.replace(golden, outputs={"logits": np.multiply(golden.outputs["logits"], factor)})
    monkeypatch.setattr(files, "read_golden", lambda folder, manifest: coarse)
    with pytest.raises(BundleError, match=r"is off by .*, allowed 4\.0e-05"):
        load(shared_bundle, provider="cuda")
    if factor < 1 + LOAD_TOLERANCES[Precision.TF32].relative_l2:
        load(shared_bundle, provider="cuda", precision="tf32")
    else:
        with pytest.raises(BundleError, match=r"allowed 1\.0e-02"):
            load(shared_bundle, provider="cuda", precision="tf32")


def test_tf32_is_held_to_the_tolerance_of_verify() -> None:
    assert LOAD_TOLERANCES[Precision.TF32].relative_l2 == tolerances.TOLERANCES[tolerances.Precision.TF32].relative_l2


@pytest.mark.parametrize("graph", [False, True], ids=["bound", "graph"])
def test_float16_runs_its_own_graph_within_its_own_tolerance(
    built_once: BuiltOnce, pretend_cuda: AskedSessions, graph: bool
) -> None:
    bundle = built_once("uint8")
    options: dict[str, Any] = {
        "provider": "cuda",
        "precision": "float16",
        "check": "all",
        "cuda": CudaOptions(graph=graph),
    }
    with pytest.raises(RuntimeInputError, match="has no float16 graph in this user's cache"):
        load(bundle, **options)
    halve(bundle)
    ensemble = load(bundle, **options)
    assert (ensemble.precision, ensemble.strategy) == ("float16", Strategy.GENERATED)
    assert pretend_cuda[-1] == ("model-float16.onnx", {**ALWAYS, "enable_cuda_graph": str(int(graph))})
    golden = read_golden(bundle)
    known = golden.outputs["logits"][0]
    error = abs(ensemble.predict(golden.inputs["image"], member=0) - known).max() / abs(known).max()
    assert 1e-5 < error < 2e-2


@pytest.mark.thorough
def test_load_makes_the_float16_graph_where_it_is_asked_to(shared_bundle: Path, pretend_cuda: AskedSessions) -> None:
    assert load(shared_bundle, provider="cuda", precision="float16", tune=True).precision is Precision.FLOAT16


def test_a_missing_float16_graph_is_no_reason_for_auto_to_take_the_cpu(
    shared_bundle: Path, pretend_cuda: AskedSessions
) -> None:
    with pytest.raises(RuntimeInputError, match="has no float16 graph"):
        load(shared_bundle, precision="float16")


@pytest.mark.each_once
@pytest.mark.parametrize("file", ["model.onnx", "network.onnx", "model-float16.onnx"])
@pytest.mark.parametrize("name", ["hypernet", "batch-ensemble", "uint8"])
def test_a_graph_holds_nothing_that_a_capture_cannot(built_once: BuiltOnce, name: str, file: str) -> None:
    """Control flow cannot be captured at all, and shapes that are computed run on the CPU."""
    bundle = built_once(name)
    path = halve(bundle).path / file if "float16" in file else bundle / file
    operators = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
    assert not operators & {"If", "Loop", "Scan", "Shape", "Size", "NonZero", "ConstantOfShape"}


REFUSED = {
    "device": ({"device": -1}, "device must be a whole number from 0, found -1"),
    "device as a word": ({"device": "0"}, "device must be a whole number from 0, found '0'"),
    "search": (
        {"algorithm_search": "fast"},
        "algorithm_search must be one of 'exhaustive', 'heuristic', 'default', found 'fast'",
    ),
    "graph": ({"graph": 1}, "graph must be True or False, found 1"),
    "nhwc": ({"prefer_nhwc": "yes"}, "prefer_nhwc must be True or False, found 'yes'"),
    "batch sizes": ({"graph_batch_sizes": 0}, "graph_batch_sizes must be a whole number from 1, found 0"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        CudaOptions(**options)


def test_a_name_becomes_its_choice() -> None:
    assert CudaOptions(algorithm_search="heuristic").algorithm_search is AlgorithmSearch.HEURISTIC


OPENVINO_HALF = {"precision": "float16", "engine": "openvino"}  # some processors have it
ELSEWHERE = ({"provider": "cpu"}, {"provider": "tensorrt"}, {"engine": "openvino"})
FOR_CUDA = ({"cuda": CudaOptions()}, {"precision": "tf32"}, {"precision": "float16"})


@pytest.mark.parametrize(
    ("options", "elsewhere"),
    [(one, other) for one in FOR_CUDA for other in ELSEWHERE if {**one, **other} != OPENVINO_HALF],
    ids=str,
)
def test_what_is_for_cuda_is_refused_elsewhere(
    shared_bundle: Path, options: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeInputError, match=r"for provider='cuda'|needs provider='cuda'"):
        load(shared_bundle, **options, **elsewhere)


def test_options_of_another_type_are_refused(shared_bundle: Path) -> None:
    with pytest.raises(RuntimeInputError, match=r"cuda must be CudaOptions\(...\) or None"):
        load(shared_bundle, cuda={"graph": True})


@pytest.mark.parametrize("precision", ["tf32", "float16"])
def test_where_auto_comes_to_the_cpu_it_computes_in_float32_and_says_so(
    shared_bundle: Path, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    ensemble = load(shared_bundle, precision=precision, cuda=CudaOptions(graph=True))
    assert (ensemble.provider, ensemble.precision, ensemble.strategy) == ("cpu", "float32", Strategy.MATERIALISED)
    expected = load(shared_bundle, provider="cpu").predict(images, member=1)
    assert np.array_equal(ensemble.predict(images, member=1), expected)


def test_a_capture_that_fails_at_load_is_an_error_with_the_remedy(
    shared_bundle: Path, pretend_cuda: AskedSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, held: object, images: object, member: int) -> Never:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(device.GraphSession, "_replay", fail)
    with pytest.raises(ProviderError, match=r"batch of 1 cannot be run as a CUDA graph: .*CudaOptions\(graph=False\)"):
        load(shared_bundle, provider="cuda", cuda=CudaOptions(graph=True))


ON_A_GPU = {
    "plain": {},
    "graph": {"cuda": CudaOptions(graph=True)},
    "nhwc": {"cuda": CudaOptions(prefer_nhwc=True)},
    "heuristic": {"cuda": CudaOptions(algorithm_search="heuristic")},
    "default": {"cuda": CudaOptions(algorithm_search="default")},
    "all": {"cuda": CudaOptions(graph=True, prefer_nhwc=True, algorithm_search="heuristic")},
    "tf32": {"precision": "tf32"},
    "tf32 graph": {"precision": "tf32", "cuda": CudaOptions(graph=True, prefer_nhwc=True)},
}


@pytest.mark.cuda
@pytest.mark.parametrize("options", ON_A_GPU.values(), ids=ON_A_GPU.keys())
@pytest.mark.parametrize("strategy", ["generated", "materialised"])
@pytest.mark.parametrize("name", ["hypernet", "batch-ensemble", "uint8"])
def test_every_member_is_right_on_a_gpu(
    built_once: BuiltOnce, name: str, strategy: str, options: dict[str, Any]
) -> None:
    ensemble = load(built_once(name), provider="cuda", strategy=strategy, check="all", **options)
    golden = read_golden(built_once(name))
    for size in (1, 3, golden.samples, 3):
        logits = ensemble.predict(golden.inputs["image"][:size], members=golden.members)
        reference = golden.outputs["logits"][:, :size]
        error = np.linalg.norm(logits - reference, axis=-1) / np.linalg.norm(reference, axis=-1)
        assert error.max() < LOAD_TOLERANCES[ensemble.precision].relative_l2


@pytest.mark.cuda
@pytest.mark.parametrize("cuda", [None, CudaOptions(graph=True), CudaOptions(prefer_nhwc=True)], ids=str)
@pytest.mark.parametrize("name", ["hypernet", "batch-ensemble", "uint8"])
def test_float16_is_right_on_a_gpu(built_once: BuiltOnce, name: str, cuda: CudaOptions | None) -> None:
    halve(built_once(name))
    load(built_once(name), provider="cuda", precision="float16", check="all", cuda=cuda)


@pytest.mark.cuda
def test_a_graph_on_a_gpu_serves_threads_members_and_batches_beyond_its_limit(
    shared_bundle: Path, images: NDArray[np.float32]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    plain = load(shared_bundle, provider="cuda", cuda=CudaOptions(algorithm_search="default"))
    graph = load(
        shared_bundle,
        provider="cuda",
        cuda=CudaOptions(algorithm_search="default", graph=True, graph_batch_sizes=2),
    )
    jobs = [(member, size) for _ in range(5) for member in range(10) for size in range(1, 5)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: graph.predict(images[: job[1]], member=job[0]), jobs))
    for (member, size), logits in zip(jobs, found, strict=True):
        expected = plain.predict(images[:size], member=member)
        assert abs(logits - expected).max() < 1e-4 * abs(expected).max()
