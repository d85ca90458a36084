"""onnxruntime's providers, proved and not assumed."""

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnxruntime
import torch

from hnexport.errors import ParityError, ProviderError

__all__ = ["ONNX_PROVIDERS", "Placement", "onnx_session", "placement", "profiled_placement", "resolve_provider"]

logger = logging.getLogger(__name__)

_NO_CPU = "session.disable_cpu_ep_fallback"
_LAYER_OPERATORS = ("Conv", "FusedConv", "Gemm", "MatMul", "FusedMatMul", "BatchNormalization")

ONNX_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
)


def onnx_session(
    path: Path, options: onnxruntime.SessionOptions, provider: str, *, tf32: bool = False
) -> onnxruntime.InferenceSession:
    """An onnxruntime session on exactly the provider that was asked for.

    Args:
        tf32: let the CUDA provider round factors to TF32; onnxruntime's own default is yes, ours is no.

    Raises:
        ProviderError: the provider is not in this onnxruntime, or the session fell back to another one.
        ParityError: onnxruntime cannot open the file.
    """
    name = ONNX_PROVIDERS[provider]
    available = onnxruntime.get_available_providers()
    if name not in available:
        raise ProviderError(
            f"onnxruntime {onnxruntime.__version__} has no {name} here, only {', '.join(available)}; "
            "`hnexport doctor` says what is missing"
        )
    options.log_severity_level = 4
    settings = {"use_tf32": str(int(tf32))} if provider == "cuda" else {}
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
    providers = [(name, dict(settings))]
    if name == ONNX_PROVIDERS["cpu"]:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    options.add_session_config_entry(_NO_CPU, "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        logger.info("%s: some nodes need the CPU: %s", path.name, error)
    options.add_session_config_entry(_NO_CPU, "0")
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


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


def profiled_placement(path: Path, provider: str, feed: Mapping[str, object], *, tf32: bool = False) -> Placement:
    """Run a graph once with onnxruntime's profiler on, and say where its nodes ran."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = onnx_session(path, options, provider, tf32=tf32)
        session.run(None, dict(feed))
        return placement(Path(session.end_profiling()), provider)


def resolve_provider(provider: str) -> str:
    """`auto` becomes `cuda` where both onnxruntime and PyTorch can use it, otherwise `cpu`."""
    if provider != "auto":
        return provider
    has_cuda = torch.cuda.is_available() and ONNX_PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    return "cuda" if has_cuda else "cpu"
