"""Runners of TorchScript and `.pt2` files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import ParityError
from hnexport.export.capture import GENERATOR_PREFIX
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.layers import call_weights, match_layers, network_layers
from hnexport.parity.providers import Device
from hnexport.parity.torch_program import TorchProgram
from hnexport.parity.torch_trace import trace_torch

__all__ = ["TorchRunner", "load_torch"]

Array = NDArray[np.generic]


class TorchRunner:
    """A TorchScript or `.pt2` file `(cond_id, image) -> logits` under PyTorch."""

    def __init__(self, path: Path, manifest: Manifest, device: Device) -> None:
        self._manifest = manifest
        self._device = "cpu" if device.provider == "cpu" else "cuda"
        try:
            self._module = load_torch(path, self._device)
        except Exception as error:  # torch raises anything on a file it cannot read
            raise ParityError(f"PyTorch {torch.__version__} cannot load {path}: {error}") from error
        self._program = TorchProgram(path, self._module, manifest, self._device)
        self.limits = self._program.limits
        self.runtime = f"torch {torch.__version__} {self._device}"

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits of one member."""
        with torch.inference_mode():
            cond = torch.tensor(cond_id, device=self._device)
            logits = self._program(cond, torch.from_numpy(images).to(self._device))
        return logits.cpu().numpy()

    def run_together(self, cond_ids: NDArray[np.int64], images: Array) -> tuple[Array, ...]:
        """What a program with the signature of `ensemble.onnx` returns."""
        with torch.inference_mode():
            ids = torch.from_numpy(cond_ids).to(self._device)
            outputs = self._program.together(ids, torch.from_numpy(images).to(self._device))
        return tuple(output.cpu().numpy() for output in outputs)

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's parameters and buffers."""
        for name, tensor in self._module.state_dict().items():
            yield name.removeprefix(GENERATOR_PREFIX), tensor.detach().cpu().numpy()

    def weights(self, cond_id: int) -> Mapping[str, Array]:
        """The tensors that the program gives its layers, by slot."""
        dtype, shape = self._manifest.spec.image_input
        layers = network_layers(self._manifest.spec.network)
        trace = trace_torch(self._module, cond_id, np.zeros((1, *shape), dtype=dtype), self._device)
        return call_weights(layers, match_layers(layers, trace.calls))


def load_torch(path: Path, device: str) -> torch.nn.Module:
    """A TorchScript or `.pt2` file as a module on a device; an AOTInductor package runs its machine code."""
    kind = file_kind(path)
    if kind is FileKind.PT2:
        return torch.export.load(path).module().to(device)
    if kind is FileKind.AOTINDUCTOR:
        os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"  # without it a batch of another size reads foreign memory
        return torch._inductor.aoti_load_package(str(path))  # type: ignore[return-value]
    return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call,no-any-return]
