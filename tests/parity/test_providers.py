"""A provider is proved, never assumed."""

import json
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from hnexport.errors import ParityError, ProviderError
from hnexport.parity.providers import Device, onnx_session, placement, profiled_placement, resolve_provider


class FallenBack:
    """What onnxruntime returns after it could not start CUDA: a session on the CPU, and no exception."""

    asked: list[tuple[str, dict[str, str]]]

    def __init__(self, path: str, options: object, providers: list[tuple[str, dict[str, str]]]) -> None:
        type(self).asked = providers

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.fixture
def cuda_in_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", FallenBack)


@pytest.mark.usefixtures("cuda_in_name_only")
def test_a_silent_fallback_to_the_cpu_is_an_error() -> None:
    with pytest.raises(ProviderError, match="fell back to CPUExecutionProvider"):
        onnx_session(Path("model.onnx"), onnxruntime.SessionOptions(), Device(provider="cuda"))


@pytest.mark.usefixtures("cuda_in_name_only")
@pytest.mark.parametrize(("tf32", "setting"), [(False, "0"), (True, "1")])
def test_tf32_is_off_unless_it_is_asked_for(tf32: bool, setting: str) -> None:
    with pytest.raises(ProviderError):
        onnx_session(Path("model.onnx"), onnxruntime.SessionOptions(), Device(provider="cuda", tf32=tf32))
    assert FallenBack.asked == [("CUDAExecutionProvider", {"use_tf32": setting})]


def test_a_provider_that_is_not_built_in_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match="has no TensorrtExecutionProvider here, only CPUExecutionProvider"):
        onnx_session(Path("model.onnx"), onnxruntime.SessionOptions(), Device(provider="tensorrt"))


def write_profile(path: Path, nodes: list[tuple[str, str, str]]) -> Path:
    events = [{"cat": "Session", "name": "model_loading", "args": {}}]
    events += [
        {"cat": "Node", "name": name, "args": {"op_name": operator, "provider": provider}}
        for name, operator, provider in nodes
    ]
    path.write_text(json.dumps(events))
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


def test_onnxruntimes_own_profile_can_be_read(pristine, tmp_path: Path) -> None:
    import numpy as np

    feed = {"cond_id": np.array(1), "image": np.zeros((2, 3, 8, 8), dtype=np.float32)}
    found = profiled_placement(pristine("hypernet") / "model.onnx", Device(), feed)
    assert set(found.nodes) == {"CPUExecutionProvider"}
    assert found.nodes["CPUExecutionProvider"] > 20
    assert found.layers_elsewhere == ()


def test_auto_is_the_cpu_where_pytorch_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: False))
    assert resolve_provider("auto") == "cpu"
