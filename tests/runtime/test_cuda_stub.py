"""CUDA without a GPU: where the real CUDA provider places our nodes, and what is said where CUDA is there but broken.

onnxruntime's provider runs over a stub of the CUDA libraries (`tests/support/cuda_stub`), in child processes.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cuda_stub
import onnx
import pytest
from cuda_stub import compile_cudnn, compile_stub, in_stub, why_no_stub
from fixture_types import BuiltOnce
from onnx import TensorProto, helper
from thorough import first

from hnexport.runtime.libraries import cuda_version

pytestmark = pytest.mark.skipif(bool(why_no_stub()), reason=f"no stub of CUDA: {why_no_stub()}")

PLACE = Path(cuda_stub.__file__).parent / "place.py"
LIBRARIES = ("libcublasLt.so", "libcublas.so", "libcurand.so", "libcudart.so")
LOAD = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
from hnexport.errors import ProviderError
from hnexport.runtime import CudaOptions, load
options = eval(sys.argv[2])
try:
    print("LOADED", load(sys.argv[1], **options))
except ProviderError as error:
    print("REFUSED", error)
"""


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries without cuDNN."""
    folder = tmp_path_factory.mktemp("cuda-stub")
    assert {name.rpartition(".")[0] for name in compile_stub(folder)} >= set(LIBRARIES)
    return folder


@pytest.fixture
def own_stub(stub: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(stub, tmp_path / "stub"))


def placed(stub: Path, files: list[Path], *, graph: bool = False) -> dict[str, str]:
    done = in_stub(stub, str(PLACE), str(int(graph)), *map(str, files))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loaded(stub: Path, bundle: Path, options: str, **environment: str) -> str:
    """What `load` logs and answers; nothing may reach stderr."""
    done = in_stub(stub, "-c", LOAD, str(bundle), options, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", first(2, ["hypernet", "uint8", "batch-ensemble", "one-member", "float16-bases"]))
def test_every_node_of_every_file_is_on_cuda(stub: Path, built_once: BuiltOnce, name: str) -> None:
    files = ["model.onnx", "hypernet.onnx", "network.onnx", "ensemble.onnx"]
    assert placed(stub, [built_once(name) / file for file in files]) == dict.fromkeys(files, "")


@pytest.mark.parametrize("name", first(2, ["hypernet", "uint8", "batch-ensemble", "one-member", "float16-bases"]))
def test_what_the_runtime_captures_is_accepted_for_cuda_graphs(stub: Path, built_once: BuiltOnce, name: str) -> None:
    files = ["model.onnx", "network.onnx"]
    assert placed(stub, [built_once(name) / file for file in files], graph=True) == dict.fromkeys(files, "")


def test_a_graph_with_an_operator_that_cuda_lacks_is_refused(stub: Path, tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    graph = helper.make_graph([helper.make_node("Det", ["x"], ["y"])], "determinant", [value], [result])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "g.onnx")
    (reason,) = placed(stub, [tmp_path / "g.onnx"]).values()
    assert "fallback to CPU EP has been explicitly disabled" in reason


OBSTACLES = {
    "no cuDNN": ({}, r"cuDNN 9 for CUDA \d+ cannot be loaded; pip install nvidia-cudnn-cu\d+"),
    "an old driver": (
        {"STUB_DRIVER": "12040"},
        r"the NVIDIA driver is for CUDA 12\.4, onnxruntime \S+ needs one for CUDA \d+; update the driver",
    ),
    "no GPU": ({"STUB_DEVICES": "0"}, r"the NVIDIA driver sees no GPU; look whether nvidia-smi lists one"),
    "hidden GPUs": (
        {"CUDA_VISIBLE_DEVICES": ""},
        r"the NVIDIA driver sees no GPU, with CUDA_VISIBLE_DEVICES=''; unset CUDA_VISIBLE_DEVICES",
    ),
}


@pytest.mark.parametrize(("environment", "message"), first(2, OBSTACLES.values()), ids=OBSTACLES.keys())
def test_auto_takes_the_cpu_and_a_named_cuda_is_refused_with_the_remedy(
    stub: Path, shared_bundle: Path, environment: dict[str, Any], message: str
) -> None:
    found = loaded(stub, shared_bundle, "{}", **environment)
    assert re.search(rf"INFO running on the CPU: provider 'cuda' cannot be had: {message}", found), found
    assert "onnxruntime on cpu, materialised>" in found
    found = loaded(stub, shared_bundle, "{'provider': 'cuda'}", **environment)
    assert re.search(rf"REFUSED provider 'cuda' cannot be had: {message}", found), found
    assert "LOADED" not in found


@pytest.mark.parametrize(
    "options",
    first(
        2,
        [
            "{'check': 'none', 'strategy': 'generated'}",
            "{'precision': 'float16'}",
            "{'strategy': 'materialised'}",
            "{'strategy': 'generated'}",
            "{'check': 'none'}",
            "{'check': 'none', 'strategy': 'materialised'}",
            "{'cuda': CudaOptions(graph=True)}",
            "{'precision': 'tf32'}",
        ],
    ),
)
def test_auto_takes_the_cpu_without_cudnn_whatever_the_options(stub: Path, shared_bundle: Path, options: str) -> None:
    if "float16" in options:  # it would be refused for its missing graph; with a GPU it is, without one it is not asked
        found = loaded(stub, shared_bundle, options, STUB_DEVICES="0")
    else:
        found = loaded(stub, shared_bundle, options)
    assert "INFO running on the CPU: " in found
    assert "onnxruntime on cpu, " in found


@pytest.mark.each_once
@pytest.mark.parametrize("strategy", ["materialised", "generated"])
@pytest.mark.parametrize("graph", [False, True], ids=["bound", "graph"])
def test_a_named_cuda_without_cudnn_says_so_however_it_runs(
    stub: Path, shared_bundle: Path, strategy: str, graph: bool
) -> None:
    options = f"{{'provider': 'cuda', 'strategy': {strategy!r}, 'cuda': CudaOptions(graph={graph})}}"
    found = loaded(stub, shared_bundle, options)
    assert "REFUSED provider 'cuda' cannot be had: cuDNN 9" in found
    assert "graph=False" not in found


@pytest.mark.parametrize("library", first(1, LIBRARIES))
def test_a_library_that_cannot_be_loaded_is_named_with_the_remedy(
    own_stub: Path, shared_bundle: Path, library: str
) -> None:
    (path,) = own_stub.glob(f"{library}.*")
    path.write_bytes(b"")
    found = loaded(own_stub, shared_bundle, "{'provider': 'cuda'}")
    assert re.search(rf"REFUSED .*{path.name}: file too short .*built for CUDA {cuda_version()}", found), found
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]==" in found
    assert "onnxruntime on cpu" in loaded(own_stub, shared_bundle, "{}")


def test_without_a_driver_the_message_says_so(own_stub: Path, shared_bundle: Path) -> None:
    (own_stub / "libcuda.so.1").write_bytes(b"")
    found = loaded(own_stub, shared_bundle, "{'provider': 'cuda'}")
    assert "there is no NVIDIA driver (libcuda.so.1 cannot be loaded); install it, or start the container" in found


def test_a_gpu_that_is_not_there_is_refused_by_its_number(stub: Path, shared_bundle: Path) -> None:
    found = loaded(stub, shared_bundle, "{'provider': 'cuda', 'cuda': CudaOptions(device=3)}")
    assert "there is no GPU 3, the NVIDIA driver shows 1; choose one from 0 to 0" in found


def test_a_cudnn_that_cannot_compute_is_no_reason_to_fail_on_auto(own_stub: Path, shared_bundle: Path) -> None:
    compile_cudnn(own_stub)
    assert "REFUSED provider 'cuda' cannot be had: cuDNN" in loaded(own_stub, shared_bundle, "{'provider': 'cuda'}")
    assert "onnxruntime on cpu" in loaded(own_stub, shared_bundle, "{}")


@pytest.mark.thorough  # long: four commands on the stub; a load shows the same
def test_verify_doctor_and_bench_agree_with_load(stub: Path, shared_bundle: Path) -> None:
    """Each in one sentence and with exit code 2 where CUDA was named; the CPU where it was not."""
    bundle = str(shared_bundle)
    doctor = in_stub(stub, "-m", "hnexport", "doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(doctor.stdout)["findings"]}
    cuda = findings["onnxruntime on cuda"]
    assert (cuda["state"], "nvidia-cudnn-cu" in cuda["remedy"]) == ("missing", True)
    assert "cuDNN 9" in cuda["detail"]
    for command in (["verify", bundle, "--runtimes", "onnx"], ["bench", bundle, "--batch-sizes", "1"]):
        done = in_stub(stub, "-m", "hnexport", *command, "--provider", "cuda")
        assert done.returncode == 2, done.stdout
        assert "cuDNN 9" in done.stderr.replace("\n", " "), done.stderr
        assert "Traceback" not in done.stderr
    done = in_stub(stub, "-m", "hnexport", "verify", bundle, "--runtimes", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [artifact["runtime"].split()[-1] for artifact in report["artifacts"]] == ["cpu"]
    assert "cuDNN 9" in report["not_run"]["onnx on cuda"]
