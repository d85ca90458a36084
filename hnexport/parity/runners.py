"""Runners: one small class for each way to run an artifact, behind one contract."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Format, Manifest
from hnexport.errors import ParityError
from hnexport.parity.onnx_runners import MaterialisedRunner, OnnxRunner
from hnexport.parity.providers import ONNX_PROVIDERS, onnx_session, resolve_provider
from hnexport.parity.torch_runners import TorchRunner

__all__ = [
    "ONNX_PROVIDERS",
    "RUNNERS",
    "Inspectable",
    "Runner",
    "file_runner",
    "onnx_session",
    "resolve_provider",
]

Array = NDArray[np.generic]


class Runner(Protocol):
    """One loaded artifact; `runtime` says in words what computes it."""

    runtime: str

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits `[batch, class]` of one member."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A runner that also shows the tensors it works with."""

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The tensors in the artifact's files, by name."""
        ...

    def weights(self, cond_id: int) -> Mapping[str, Array]:
        """The main network's tensors of one member, by slot name; a slot that was fused away is left out."""
        ...


# What a bundle can be run as: the artifact's name, the format it belongs to, its runner.
RUNNERS: Mapping[str, tuple[Format, Callable[[Path, Manifest, str], Runner]]] = MappingProxyType(
    {
        "onnx": (Format.ONNX, lambda bundle, *rest: OnnxRunner(bundle / "model.onnx", *rest)),
        "onnx-materialised": (Format.ONNX, MaterialisedRunner),
        "torchscript": (Format.TORCHSCRIPT, lambda bundle, *rest: TorchRunner(bundle / "model.pt", *rest)),
        "pt2": (Format.PT2, lambda bundle, *rest: TorchRunner(bundle / "model.pt2", *rest)),
    }
)


def file_runner(path: Path, manifest: Manifest, provider: str) -> Runner:
    """A runner of any ONNX, TorchScript or `.pt2` file with the signature of a bundle.

    Raises:
        ParityError: it is none of these, or has another signature.
        ProviderError: the provider cannot be had.
    """
    if not path.is_file():
        raise ParityError(f"{path} is not a file; give an .onnx, .pt or .pt2 file")
    if path.suffix == ".onnx":
        return OnnxRunner(path, manifest, provider)
    if path.suffix in (".pt", ".pt2", ".ts", ".pth", ".jit"):
        return TorchRunner(path, manifest, provider)
    raise ParityError(f"{path}: expected a file named .onnx, .pt or .pt2, found {path.suffix or 'no suffix'}")
