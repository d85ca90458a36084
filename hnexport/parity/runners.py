"""Runners: one small class for each way to run an artifact, behind one contract."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from hnexport.bundle.manifest import Format, Manifest
from hnexport.errors import ParityError, ProviderError

__all__ = ["ONNX_PROVIDERS", "RUNNERS", "Runner", "resolve_provider"]

Array = NDArray[np.generic]

ONNX_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
)


class Runner(Protocol):
    """One loaded artifact; `runtime` says in words what computes it."""

    runtime: str

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits `[batch, class]` of one member."""
        ...


class OnnxRunner:
    """`model.onnx` under onnxruntime."""

    def __init__(self, bundle: Path, manifest: Manifest, provider: str) -> None:
        self._session = onnx_session(bundle / "model.onnx", onnxruntime.SessionOptions(), provider)
        self.runtime = _onnxruntime_on(self._session)

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits of one member."""
        feed = {"cond_id": np.array(cond_id, dtype=np.int64), "image": images}
        return self._session.run(["logits"], feed)[0]  # type: ignore[no-any-return]


class MaterialisedRunner:
    """`hypernet.onnx` once for a member, its outputs given to `network.onnx` as initializers."""

    def __init__(self, bundle: Path, manifest: Manifest, provider: str) -> None:
        if manifest.onnx is None:
            raise ParityError(f"{bundle} holds no ONNX files")
        self._network_file, self._provider, self._supplied = bundle / "network.onnx", provider, manifest.onnx.supplied
        self._hypernet = onnx_session(bundle / "hypernet.onnx", onnxruntime.SessionOptions(), provider)
        self._member: int | None = None
        self._network: onnxruntime.InferenceSession
        self.runtime = _onnxruntime_on(self._hypernet)

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits of one member; its session is kept until another member is asked for."""
        if cond_id != self._member:
            self._network, self._member = self._materialise(cond_id), cond_id
        return self._network.run(["logits"], {"image": images})[0]  # type: ignore[no-any-return]

    def _materialise(self, cond_id: int) -> onnxruntime.InferenceSession:
        weights = self._hypernet.run(list(self._supplied), {"cond_id": np.array(cond_id, dtype=np.int64)})
        options = onnxruntime.SessionOptions()
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights]
        options.add_external_initializers(list(self._supplied), values)
        return onnx_session(self._network_file, options, self._provider)


class TorchScriptRunner:
    """`model.pt` under `torch.jit`."""

    def __init__(self, bundle: Path, manifest: Manifest, provider: str) -> None:
        self._device = "cuda" if provider == "cuda" else "cpu"
        self._module = torch.jit.load(str(bundle / "model.pt"), map_location=self._device).eval()  # type: ignore[no-untyped-call]
        self.runtime = f"torch {torch.__version__} {self._device}"

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits of one member."""
        with torch.inference_mode():
            logits = self._module(*_torch_inputs(cond_id, images, self._device))
        return logits.cpu().numpy()  # type: ignore[no-any-return]


class Pt2Runner:
    """`model.pt2` under `torch.export`."""

    def __init__(self, bundle: Path, manifest: Manifest, provider: str) -> None:
        self._device = "cuda" if provider == "cuda" else "cpu"
        self._module = torch.export.load(bundle / "model.pt2").module().to(self._device)
        self.runtime = f"torch {torch.__version__} {self._device}"

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits of one member."""
        with torch.inference_mode():
            logits = self._module(*_torch_inputs(cond_id, images, self._device))
        return logits.cpu().numpy()  # type: ignore[no-any-return]


# What a bundle can be run as: the artifact's name, the format it belongs to, its runner.
RUNNERS: Mapping[str, tuple[Format, Callable[[Path, Manifest, str], Runner]]] = MappingProxyType(
    {
        "onnx": (Format.ONNX, OnnxRunner),
        "onnx-materialised": (Format.ONNX, MaterialisedRunner),
        "torchscript": (Format.TORCHSCRIPT, TorchScriptRunner),
        "pt2": (Format.PT2, Pt2Runner),
    }
)


def onnx_session(path: Path, options: onnxruntime.SessionOptions, provider: str) -> onnxruntime.InferenceSession:
    """An onnxruntime session on exactly the provider that was asked for.

    Raises:
        ProviderError: the provider is not in this onnxruntime, or the session fell back to another one.
    """
    name = ONNX_PROVIDERS[provider]
    available = onnxruntime.get_available_providers()
    if name not in available:
        raise ProviderError(f"onnxruntime {onnxruntime.__version__} has no {name} here, only {', '.join(available)}")
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=[name])
    if session.get_providers()[0] != name:
        raise ProviderError(f"onnxruntime could not start {name} and fell back to {session.get_providers()[0]}")
    return session


def resolve_provider(provider: str) -> str:
    """`auto` becomes `cuda` where both onnxruntime and PyTorch can use it, otherwise `cpu`."""
    if provider != "auto":
        return provider
    has_cuda = torch.cuda.is_available() and ONNX_PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    return "cuda" if has_cuda else "cpu"


def _onnxruntime_on(session: onnxruntime.InferenceSession) -> str:
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    return f"onnxruntime {onnxruntime.__version__} {provider.lower()}"


def _torch_inputs(cond_id: int, images: Array, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(cond_id, device=device), torch.from_numpy(images).to(device)
