"""onnxruntime's providers, proved and not assumed."""

import ctypes
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnxruntime
import torch

from hnexport.bundle.layout import session_source
from hnexport.errors import ParityError, ProviderError

__all__ = [
    "ONNX_PROVIDERS",
    "Device",
    "Placement",
    "can_load",
    "obstacle",
    "onnx_session",
    "placement",
    "profiled_placement",
    "resolve_provider",
]

logger = logging.getLogger(__name__)

_NO_CPU = "session.disable_cpu_ep_fallback"
_LAYER_OPERATORS = ("Conv", "FusedConv", "Gemm", "MatMul", "FusedMatMul", "BatchNormalization")

ONNX_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
)


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where to compute.

    Attributes:
        provider: a key of `ONNX_PROVIDERS`.
        tf32: let CUDA round factors to TF32; onnxruntime's own default is yes, ours is no.
    """

    provider: str = "cpu"
    tf32: bool = False


def onnx_session(path: Path, options: onnxruntime.SessionOptions, device: Device) -> onnxruntime.InferenceSession:
    """An onnxruntime session on exactly the provider that was asked for.

    Raises:
        ProviderError: the provider is not in this onnxruntime, or the session fell back to another one.
        ParityError: onnxruntime cannot open the file.
    """
    provider = device.provider
    name = ONNX_PROVIDERS[provider]
    available = onnxruntime.get_available_providers()
    if name not in available:
        raise ProviderError(
            f"onnxruntime {onnxruntime.__version__} has no {name} here, only {', '.join(available)}; "
            "`hnexport doctor` says what is missing"
        )
    options.log_severity_level = 4
    settings = {"use_tf32": str(int(device.tf32))} if provider == "cuda" else {}
    try:
        session = _open(path, options, name, settings)
    except Exception as error:  # onnxruntime's exceptions have no common root
        if provider == "cpu":
            raise ParityError(f"onnxruntime {onnxruntime.__version__} cannot open {path}: {error}") from error
        raise ProviderError(f"onnxruntime could not start {name} for {path.name}: {error}") from error
    if session.get_providers()[0] != name:
        raise ProviderError(
            f"onnxruntime could not start {name} and fell back to {session.get_providers()[0]}; "
            "`hnexport doctor` says what is missing"
        )
    return session


def _open(
    path: Path, options: onnxruntime.SessionOptions, name: str, settings: Mapping[str, str]
) -> onnxruntime.InferenceSession:
    """First without any node on the CPU; where that is refused, with: `placement` then says which nodes those are."""
    providers, source = [(name, dict(settings))], session_source(path, options)
    if name == ONNX_PROVIDERS["cpu"]:
        return onnxruntime.InferenceSession(source.model, options, providers=providers)
    options.add_session_config_entry(_NO_CPU, "1")
    try:
        return onnxruntime.InferenceSession(source.model, options, providers=providers)
    except Exception as error:
        logger.info("%s: some nodes need the CPU: %s", path.name, error)
    options.add_session_config_entry(_NO_CPU, "0")
    return onnxruntime.InferenceSession(source.model, options, providers=providers)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a graph's nodes ran, from a profile that onnxruntime wrote.

    Attributes:
        nodes: how many ran on each provider.
        layers_elsewhere: operators of convolutions, products and norms that ran on another provider than was asked for.
    """

    nodes: Mapping[str, int]
    layers_elsewhere: tuple[str, ...]


def placement(profile: Path, provider: str) -> Placement:
    """Read a profile.

    Raises:
        ParityError: the profile names no node, so it proves nothing.
    """
    name = ONNX_PROVIDERS[provider]
    events = json.loads(profile.read_text(encoding="utf-8"))
    ran = {
        (event["name"], event["args"].get("op_name", "?"), event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    if not ran:
        raise ParityError(f"{profile} names no node that ran; onnxruntime wrote another kind of profile")
    elsewhere = {operator for _, operator, where in ran if where != name and operator in _LAYER_OPERATORS}
    return Placement(nodes=dict(Counter(where for *_, where in sorted(ran))), layers_elsewhere=tuple(sorted(elsewhere)))


def profiled_placement(path: Path, device: Device, feed: Mapping[str, object]) -> Placement:
    """Run a graph once with onnxruntime's profiler on, and say where its nodes ran."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = onnx_session(path, options, device)
        session.run(None, dict(feed))
        return placement(Path(session.end_profiling()), device.provider)


def resolve_provider(provider: str) -> str:
    """`auto` becomes `cuda` where both onnxruntime and PyTorch can use it, otherwise `cpu`."""
    if provider != "auto":
        return provider
    has_cuda = torch.cuda.is_available() and ONNX_PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    return "cuda" if has_cuda else "cpu"


def obstacle(provider: str) -> str | None:
    """Why a provider cannot be had here, with the remedy; None where nothing speaks against it."""
    name = ONNX_PROVIDERS[provider]
    if name not in onnxruntime.get_available_providers():
        return f"this onnxruntime is built without {name}: pip uninstall onnxruntime, pip install onnxruntime-gpu"
    if provider == "cpu":
        return None
    if not can_load("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll"):
        return "there is no NVIDIA driver: install it, or start the container with --gpus all"
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU: its wheel is for the CPU, CUDA_VISIBLE_DEVICES is empty or the driver is too old"
    if provider == "tensorrt" and sys.platform == "linux" and not can_load("libnvinfer.so.10"):
        return "TensorRT is not installed: pip install tensorrt"
    return None


def can_load(library: str) -> bool:
    """Whether the dynamic loader finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
