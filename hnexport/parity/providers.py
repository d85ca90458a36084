"""Where parity computes: providers that are proved and not assumed."""

import dataclasses
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch

from hnexport.errors import BundleError, ParityError
from hnexport.parity.limits import Limits
from hnexport.runtime.obstacles import NVIDIA
from hnexport.runtime.offered import KNOWN, execution_provider
from hnexport.runtime.providers import UnusableProviderError, open_session
from hnexport.runtime.trial import obstacle, resolve_provider

__all__ = [
    "Device",
    "Placement",
    "limited",
    "obstacle",
    "onnx_session",
    "placement",
    "profiled_placement",
    "resolve_provider",
    "torch_device",
    "torch_runtime",
]

_LAYER_OPERATORS = ("Conv", "FusedConv", "Gemm", "MatMul", "FusedMatMul", "BatchNormalization")


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where to compute.

    Attributes:
        provider: by its short name, see `hnexport.runtime.offered`.
        tf32: let CUDA round factors to TF32; onnxruntime's own default is yes, ours is no.
    """

    provider: str = "cpu"
    tf32: bool = False


def onnx_session(path: Path, options: onnxruntime.SessionOptions, device: Device) -> onnxruntime.InferenceSession:
    """An onnxruntime session on exactly the provider that was asked for, without any node on the CPU where that can be.

    Raises:
        ProviderError: the provider cannot be had; with what is missing, and the remedy.
        ParityError: onnxruntime cannot open the file.
    """
    found = obstacle(device.provider)
    if found is not None:
        raise UnusableProviderError(device.provider, found)
    settings = {"use_tf32": str(int(device.tf32))} if device.provider == "cuda" else {}
    try:
        return open_session(path, options, device.provider, settings, proving=True)
    except BundleError as error:
        raise ParityError(f"onnxruntime {onnxruntime.__version__} cannot open {path}: {error.__cause__}") from error


def limited(limits: Limits, device: Device) -> Limits:
    """The limits of a graph on a provider of which some are known."""
    known = KNOWN.get(device.provider)
    if known is None:
        return limits
    keeps_nan, id_bits = limits.keeps_nan and known.keeps_nan, min(limits.id_bits, known.id_bits)
    return dataclasses.replace(limits, keeps_nan=keeps_nan, id_bits=id_bits)


def torch_device(device: Device) -> str:
    """Where PyTorch computes: on the GPU if that was asked for and this PyTorch can, otherwise on the CPU."""
    return "cuda" if device.provider in NVIDIA and torch.cuda.is_available() else "cpu"


def torch_runtime(device: Device) -> str:
    """What computes a PyTorch file, in words; they say so where it is the CPU though another device was asked for."""
    where = torch_device(device)
    without = where == "cpu" and device.provider in NVIDIA
    return f"torch {torch.__version__} {where}{' (this PyTorch has no CUDA)' if without else ''}"


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
    name = execution_provider(provider)
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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = onnx_session(path, options, device)
        session.run(None, dict(feed))
        return placement(Path(session.end_profiling()), device.provider)
