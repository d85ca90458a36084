"""What the engine does to the process that it lives in."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundles import rewrite_checksums
from fixture_types import BuiltOnce
from numpy.typing import NDArray

from hnexport.errors import BundleError
from hnexport.runtime import load, onnxruntime_engine

LOAD_AND_PREDICT = """
import numpy as np
import onnxruntime
from hnexport.runtime import load
{before}
ensemble = load({bundle!r}, provider="cpu", strategy="materialised", **{options!r})
logits = ensemble.predict(np.zeros((1, 3, 8, 8), np.float32), members="all")
assert np.isfinite(logits).all()
{after}
print("done")
"""


def run(**parts: Any) -> subprocess.CompletedProcess[str]:
    code = LOAD_AND_PREDICT.format(**{"before": "", "after": "", "options": {}, **parts})
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)


def test_an_application_may_open_sessions_of_its_own_after_a_load(shared_bundle: Path) -> None:
    path = str(shared_bundle / "model.onnx")
    done = run(
        bundle=str(shared_bundle), after=f"onnxruntime.InferenceSession({path!r}, providers=['CPUExecutionProvider'])"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "done", "")


def test_an_application_that_shares_a_global_thread_pool_can_load(shared_bundle: Path) -> None:
    done = run(bundle=str(shared_bundle), before="onnxruntime.set_global_thread_pool_sizes(2, 1)")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "done", "")


@pytest.mark.parametrize("strategy", ["materialised", "generated"])
def test_float16_bases_stay_float16_in_memory(
    strategy: str, built_once: BuiltOnce, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """onnxruntime would fold their Casts and keep a float32 copy of every basis: the graph that runs still casts."""
    bundle = built_once("float16-bases")
    files: list[Path] = []

    def saving(*arguments: object, **keywords: Any) -> Any:
        options = onnxruntime_engine_options(*arguments, **keywords)
        files.append(tmp_path / f"{len(files)}.onnx")
        options.optimized_model_filepath = str(files[-1])
        return options

    onnxruntime_engine_options = onnxruntime_engine.session_options  # type: ignore[attr-defined] # what a test or a tool reaches for there
    monkeypatch.setattr(onnxruntime_engine, "session_options", saving)
    logits = load(bundle, provider="cpu", strategy=strategy, check="all").predict(images, member=3)
    assert np.isfinite(logits).all()
    graphs = [onnx.load(file, load_external_data=False).graph for file in files]
    (graph,) = [graph for graph in graphs if any(node.op_type == "Cast" for node in graph.node)]
    bases = {tensor.name: tensor.data_type for tensor in graph.initializer if tensor.name.endswith(".basis")}
    assert bases
    assert set(bases.values()) == {onnx.TensorProto.FLOAT16}
    assert {node.input[0] for node in graph.node if node.op_type == "Cast"} >= set(bases)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_threads_is_the_number_of_threads_of_a_call(shared_bundle: Path) -> None:
    count = "import os; print(len(os.listdir('/proc/self/task')))"
    one, three = (
        int(run(bundle=str(shared_bundle), options={"threads": threads}, after=count).stdout.split()[0])
        for threads in (1, 3)
    )
    # ten members, the hypernetwork, and two threads beside the caller's in each
    assert three - one == 11 * 2


@pytest.mark.each_once
@pytest.mark.parametrize("strategy", ["materialised", "generated"])
@pytest.mark.parametrize("damage", ["no logits", "another input", "another rank"])
def test_a_graph_with_another_signature_is_the_fault_of_the_bundle(
    own_bundle: Path, images: NDArray[np.float32], damage: str, strategy: str
) -> None:
    for name in ("model.onnx", "network.onnx"):
        model = onnx.load(own_bundle / name, load_external_data=False)
        image = next(value for value in model.graph.input if value.name == "image")
        if damage == "no logits":
            node = onnx.helper.make_node("Identity", ["logits"], ["scores"])
            model.graph.node.append(node)
            model.graph.output[0].name = "scores"
        elif damage == "another input":
            model.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
            model.graph.node.append(onnx.helper.make_node("Identity", ["more"], ["unused"]))
        else:
            image.type.tensor_type.shape.dim.add().dim_value = 1
            model.graph.node.insert(0, onnx.helper.make_node("Flatten", ["image"], ["flat"]))
            del model.graph.node[1:]
            model.graph.output[0].name = "flat"
        (own_bundle / name).write_bytes(model.SerializeToString())
    rewrite_checksums(own_bundle)
    with pytest.raises(BundleError, match="cannot (run|load)|as the manifest says|the manifest does not name"):
        load(own_bundle, provider="cpu", strategy=strategy).predict(images, member=0)
