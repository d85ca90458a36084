"""Bound and captured calls, on the CPU provider: the same code with another device's name, bit for bit.

What only a GPU can show is in `test_cuda.py`.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fixture_types import BuiltOnce
from numpy.typing import NDArray

from hnexport.bundle import read_manifest
from hnexport.errors import ProviderError
from hnexport.runtime.device import WITHOUT_GRAPH, BoundSession, GraphSession, Place, on_graph_thread
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.runtime.session_options import session_options
from hnexport.spec import OutputKind, OutputSpec, Signature, TensorSpec

CPU = Place(name="cpu")
KINDS = ("bound", "graph")


SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", dtype="float32", shape=("batch", 3, 8, 8)),),
    outputs=(OutputSpec(name="logits", dtype="float32", shape=("batch", 5), kind=OutputKind.LOGITS, axis=1),),
)


def open_session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), session_options(1), providers=["CPUExecutionProvider"])


def runner(kind: str, path: Path, limit: int = 8) -> Callable[..., NDArray[np.generic]]:
    session = open_session(path)
    return placed(kind, session, limit)


def placed(kind: str, session: Any, limit: int = 8) -> Callable[..., NDArray[np.generic]]:
    """A function of images and a member that gives logits."""
    run = BoundSession(session, CPU, SIGNATURE) if kind == "bound" else GraphSession(session, CPU, SIGNATURE, limit)
    return lambda images, member=None: run({"image": images}, member)["logits"]


@pytest.fixture
def expected(shared_bundle: Path, images: NDArray[np.float32]) -> dict[Any, Any]:
    """Logits by the plain session, for every member and the batch sizes 1 to 4."""
    session = open_session(shared_bundle / "model.onnx")
    return {
        (member, size): session.run(["logits"], {"cond_id": np.array(member), "image": images[:size]})[0]
        for member in range(10)
        for size in range(1, 5)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_and_batch_size_equals_the_plain_session_bit_for_bit(
    shared_bundle: Path, images: NDArray[np.float32], expected: dict[Any, Any], kind: str
) -> None:
    run = runner(kind, shared_bundle / "model.onnx")
    for _ in range(2):
        for (member, size), logits in expected.items():
            found = run(images[:size], member)
            assert found.dtype == np.float32
            assert np.array_equal(found, logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_without_a_condition_id_is_bound_too(
    shared_bundle: Path, images: NDArray[np.float32], kind: str
) -> None:
    engine = OnnxruntimeEngine(shared_bundle, read_manifest(shared_bundle), "cpu", 1)
    session = engine._network_session(4, {}, [])
    run = placed(kind, session, 2)
    for size in (1, 4, 1):
        assert np.array_equal(run(images[:size]), engine.materialise(4)({"image": images[:size]})["logits"])


@pytest.mark.parametrize("kind", KINDS)
def test_raw_pixels_are_bound_too(built_once: BuiltOnce, kind: str) -> None:
    path = built_once("uint8") / "model.onnx"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 3), dtype=np.uint8)
    run, session = runner(kind, path), open_session(path)
    for batch in pixels:
        logits = session.run(["logits"], {"cond_id": np.array(1), "image": batch})[0]
        assert np.array_equal(run(batch, 1), logits)


@pytest.mark.parametrize("kind", KINDS)
def test_later_calls_leave_earlier_logits_and_the_images_alone(
    shared_bundle: Path, images: NDArray[np.float32], kind: str
) -> None:
    run, given = runner(kind, shared_bundle / "model.onnx"), images.copy()
    first = run(given, 0)
    kept = first.copy()
    run(-given, 1)
    assert np.array_equal(first, kept)
    first[:] = 0
    assert np.array_equal(run(given, 0), kept)
    assert np.array_equal(given, images)


@pytest.mark.parametrize("kind", KINDS)
def test_eight_threads_get_the_single_threaded_bits(
    shared_bundle: Path, images: NDArray[np.float32], expected: dict[Any, Any], kind: str
) -> None:
    run, wrong, start = runner(kind, shared_bundle / "model.onnx", limit=2), [], threading.Barrier(8)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        start.wait()
        for _ in range(50):
            member, size = int(random.integers(10)), int(random.integers(1, 5))
            if not np.array_equal(run(images[:size], member), expected[member, size]):
                wrong.append((seed, member, size))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class Recorded:
    """A session that notes each run's graph id, buffers and thread, and fails while it is told to."""

    def __init__(self, session: Any) -> None:
        self.session, self.fails = session, False
        self.runs: list[tuple[int, tuple[Any, ...], str]] = []

    def io_binding(self) -> Any:
        return self.session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        addresses = tuple(value and value.data_ptr() for value in binding._bound_inputs.values())
        graph = int(options.get_run_config_entry("gpu_graph_id"))
        self.runs.append((graph, addresses, threading.current_thread().name))
        if self.fails:
            raise RuntimeError("CUDA failure 900")
        self.session.run_with_iobinding(binding, options)


@pytest.fixture
def recorded(shared_bundle: Path) -> Recorded:
    return Recorded(open_session(shared_bundle / "model.onnx"))


def test_the_first_batch_sizes_get_a_graph_each_and_the_rest_run_without(
    recorded: Recorded, images: NDArray[np.float32]
) -> None:
    run = GraphSession(recorded, CPU, SIGNATURE, 2)
    for size in (2, 4, 3, 2, 4, 1):
        run({"image": images[:size]}, size)
    assert [graph for graph, *_ in recorded.runs] == [1, 2, -1, 1, 2, -1]
    assert run.batch_sizes == (2, 4)


def test_a_replay_reads_and_writes_where_the_capture_did(recorded: Recorded, images: NDArray[np.float32]) -> None:
    run = GraphSession(recorded, CPU, SIGNATURE, 2)
    for member in range(3):
        run({"image": images.copy()}, member)
    assert len({addresses for _, addresses, _ in recorded.runs}) == 1
    assert None not in recorded.runs[0][1]


def test_all_graphs_of_a_process_run_in_one_thread(
    shared_bundle: Path, recorded: Recorded, images: NDArray[np.float32]
) -> None:
    other = Recorded(open_session(shared_bundle / "model.onnx"))
    runs = [GraphSession(session, CPU, SIGNATURE, 1) for session in (recorded, other)]
    threads = [threading.Thread(target=run, args=({"image": images}, 0)) for run in runs for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (name,) = {name for *_, name in (*recorded.runs, *other.runs)}
    assert name == on_graph_thread(lambda: threading.current_thread().name)
    assert name.startswith("hnexport-cuda-graph")


def test_a_capture_that_fails_says_what_to_do_and_can_be_tried_again(
    recorded: Recorded, images: NDArray[np.float32], expected: dict[Any, Any]
) -> None:
    run = GraphSession(recorded, CPU, SIGNATURE, 1)
    recorded.fails = True
    with pytest.raises(ProviderError, match=r"batch of 4 cannot be run as a CUDA graph: CUDA failure 900; load with"):
        run({"image": images}, 0)
    assert run.batch_sizes == ()
    recorded.fails = False
    assert np.array_equal(run({"image": images}, 0)["logits"], expected[0, 4])
    assert run.batch_sizes == (4,)  # type: ignore[comparison-overlap] # compared on purpose


def test_a_graph_session_is_freed_in_the_thread_of_graphs(shared_bundle: Path) -> None:
    freed = []

    class Witness(Recorded):
        def __del__(self) -> None:
            freed.append(threading.current_thread().name)

    run = GraphSession(Witness(open_session(shared_bundle / "model.onnx")), CPU, SIGNATURE, 1)
    del run
    name = on_graph_thread(lambda: threading.current_thread().name)  # after what was asked for before
    assert freed == [name]


def test_a_run_without_a_graph_says_so_to_onnxruntime() -> None:
    assert WITHOUT_GRAPH.get_run_config_entry("gpu_graph_id") == "-1"
