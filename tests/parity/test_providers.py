"""A provider is proved, never assumed."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from hnexport.errors import ParityError, ProviderError
from hnexport.parity.checks import check_placement, check_strict
from hnexport.parity.providers import (
    Device,
    Placement,
    onnx_session,
    placement,
    profiled_placement,
    resolve_provider,
    torch_device,
    torch_runtime,
)
from hnexport.runtime import trial
from hnexport.runtime.obstacles import Obstacle


def test_auto_asks_onnxruntime_and_not_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a CPU build of PyTorch and a working onnxruntime-gpu, ONNX files run on CUDA and PyTorch's on the CPU."""
    import torch

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(trial, "obstacle", lambda provider: None)
    assert resolve_provider("auto") == "cuda"
    device = Device(provider="cuda")
    assert torch_device(device) == "cpu"
    assert torch_runtime(device) == f"torch {torch.__version__} cpu (this PyTorch has no CUDA)"
    assert torch_runtime(Device()) == f"torch {torch.__version__} cpu"


def test_auto_is_the_cpu_where_onnxruntime_cannot_use_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: True))
    monkeypatch.setattr(trial, "obstacle", lambda provider: Obstacle(what="no cuDNN", remedy="install it"))
    assert resolve_provider("auto") == "cpu"
    assert torch_device(Device(provider="cuda")) == "cuda"


def test_a_provider_that_cannot_be_had_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnexport.parity.providers.obstacle", lambda name: Obstacle(what="no cuDNN", remedy="install"))
    with pytest.raises(ProviderError, match="provider 'cuda' cannot be had: no cuDNN; install, or choose"):
        onnx_session(Path("model.onnx"), onnxruntime.SessionOptions(), Device(provider="cuda"))


def test_a_file_that_onnxruntime_cannot_open_is_not_said_to_be_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(ParityError, match=r"onnxruntime .* cannot open .*model.onnx: (?!.*build the bundle)"):
        onnx_session(tmp_path / "model.onnx", onnxruntime.SessionOptions(), Device())


def write_profile(path: Path, nodes: list[tuple[str, str, str]]) -> Path:
    events = [{"cat": "Session", "name": "model_loading", "args": {}}]
    events += [
        {"cat": "Node", "name": name, "args": {"op_name": operator, "provider": provider}}
        for name, operator, provider in nodes
    ]
    path.write_text(json.dumps(events), encoding="utf-8")
    return path


def test_a_profile_shows_layers_that_ran_on_the_cpu(tmp_path: Path) -> None:
    nodes = [
        ("a", "Conv", "CUDAExecutionProvider"),
        ("a", "Conv", "CUDAExecutionProvider"),
        ("b", "Conv", "CPUExecutionProvider"),
        ("c", "Clip", "CPUExecutionProvider"),
    ]
    found = placement(write_profile(tmp_path / "profile.json", nodes), "cuda")
    assert found.nodes == {"CUDAExecutionProvider": 1, "CPUExecutionProvider": 2}
    assert found.layers_elsewhere == ("Conv",)


def test_an_empty_profile_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="names no node"):
        placement(write_profile(tmp_path / "profile.json", []), "cuda")


def test_onnxruntimes_own_profile_can_be_read(pristine: Callable[[str], Path], tmp_path: Path) -> None:
    import numpy as np

    feed = {"cond_id": np.array(1), "image": np.zeros((2, 3, 8, 8), dtype=np.float32)}
    found = profiled_placement(pristine("hypernet") / "model.onnx", Device(), feed)
    assert set(found.nodes) == {"CPUExecutionProvider"}
    assert found.nodes["CPUExecutionProvider"] > 20
    assert found.layers_elsewhere == ()


@pytest.mark.parametrize(("error", "strict"), [(7e-7, True), (1.2e-3, False)])
def test_the_error_itself_says_whether_tf32_was_used(error: float, strict: bool) -> None:
    check = check_strict(error)
    assert check.passed is strict
    assert ("TF32" in check.detail) is not strict


def test_a_layer_that_fell_back_fails_the_artifact() -> None:
    nodes = {"CUDAExecutionProvider": 90, "CPUExecutionProvider": 2}
    found = Placement(nodes=nodes, layers_elsewhere=("Conv",))
    check = check_placement(SimpleNamespace(placement=lambda images: found), None)
    assert check is not None
    assert not check.passed
    assert check.detail == "90 nodes on CUDAExecutionProvider, 2 nodes on CPUExecutionProvider; Conv fell back"
