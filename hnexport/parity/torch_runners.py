"""The runner of TorchScript and `.pt2` files. They are programs: whoever loads one runs it.

Only `hnexport.parity.programs` decides in which process that happens.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.manifest import Manifest
from hnexport.errors import ParityError
from hnexport.names import GENERATOR_PREFIX
from hnexport.parity.kinds import FileKind, torch_kind
from hnexport.parity.layers import LayerCall, call_weights, match_layers, network_layers
from hnexport.parity.limits import FULL
from hnexport.parity.signature import GraphSignature, SignatureError
from hnexport.parity.torch_program import TorchProgram
from hnexport.parity.torch_trace import trace_torch
from hnexport.parity.trace import Trace

__all__ = ["TorchRunner", "load_torch"]

Array = NDArray[np.generic]


class TorchRunner:
    """A TorchScript or `.pt2` file `(cond_id, inputs) -> outputs` under PyTorch."""

    def __init__(
        self,
        content: bytes,
        name: str,
        signature: GraphSignature,
        device: str = "cpu",
        *,
        own: bool = False,
        manifest: Manifest | None = None,
    ) -> None:
        """Load the program in `content`, the bytes of a file named `name`, on PyTorch's `device`.

        Args:
            own: whether it is a bundle's own file: then another signature is told by `signature_faults`.
            manifest: None in a confined process, whose parent finds the layers.

        Raises:
            ParityError: PyTorch cannot load it, or it has another signature.
        """
        self._signature, self._manifest, self._device = signature, manifest, device
        try:
            self._module = load_torch(content, name, self._device)
        except Exception as error:  # torch raises anything on a file it cannot read
            raise ParityError(
                f"PyTorch {torch.__version__} cannot load {name}: {str(error) or type(error).__name__}"
            ) from error
        self.runtime = f"torch {torch.__version__} {device}"
        self.limits = FULL
        self.signature_faults: tuple[str, ...] = ()
        self._found: TorchProgram | None = None
        try:
            self._found = TorchProgram(name, self._module, signature, device)
        except SignatureError as error:
            if not own:
                raise
            self.signature_faults = (str(error),)
        else:
            self.limits = self._found.limits
            self.signature_faults = self._found.signature_faults if own else ()

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        return self._run(torch.tensor(cond_id), inputs)

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a program with the signature of `ensemble.onnx` returns."""
        return self._run(torch.from_numpy(cond_ids), inputs)

    def ensemble(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The program's method `ensemble`: several members in one call."""
        method = cast("Callable[..., Any]", self._module.ensemble)
        given = self._tensors(inputs)
        with torch.inference_mode():
            found = method(
                torch.from_numpy(cond_ids).to(self._device),
                *(given[item.name] for item in self._signature.inputs[1:]),
            )
        wanted = [item.name for item in self._signature.summaries]
        outputs = [found] if isinstance(found, Tensor) else list(found)
        if len(outputs) != len(wanted):
            raise ParityError(f"ensemble returns {len(outputs)} tensors, expected {', '.join(wanted)}")
        return {name: output.cpu().numpy() for name, output in zip(wanted, outputs, strict=True)}

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's parameters and buffers."""
        for name, tensor in self._module.state_dict().items():
            yield name.removeprefix(GENERATOR_PREFIX), tensor.detach().cpu().numpy()

    def weights(self, cond_id: int) -> Mapping[str, Array]:
        """The tensors that the program gives its layers, by slot."""
        if self._manifest is None:
            raise ParityError("the layers of a confined program are found by its parent")
        layers = network_layers(self._manifest.spec.network)
        return call_weights(layers, match_layers(layers, self.calls(cond_id)))

    def calls(self, cond_id: int) -> tuple[LayerCall, ...]:
        """The layers of one call with a single sample of zeros."""
        (item,) = self._signature.inputs[1:]
        sample = np.zeros([size if isinstance(size, int) else 1 for size in item.shape], dtype=item.dtype)
        return trace_torch(self._alone, cond_id, sample, self._device).calls

    def trace(self, cond_id: int, images: Array) -> Trace:
        """Every layer and every floating-point value of one call."""
        return trace_torch(self._alone, cond_id, images, self._device, values=True)

    @property
    def _program(self) -> TorchProgram:
        if self._found is None:
            raise ParityError(self.signature_faults[0])
        return self._found

    def _run(self, cond_ids: Tensor, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.inference_mode():
            outputs = self._program(cond_ids.to(self._device), self._tensors(inputs))
        return {name: output.cpu().numpy() for name, output in outputs.items()}

    def _tensors(self, inputs: Mapping[str, Array]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.asarray(array, order="C")).to(self._device) for name, array in inputs.items()}

    def _alone(self, cond_id: Tensor, image: Tensor) -> Tensor:
        """The only output of the only input."""
        (name,) = (item.name for item in self._signature.inputs[1:])
        return next(iter(self._program(cond_id, {name: image}).values()))


def load_torch(content: bytes, name: str, device: str) -> torch.nn.Module:
    """A PyTorch file, by its bytes and its name, as a module on a device; an AOTInductor package is machine code."""
    kind = torch_kind(content, name)
    if kind is FileKind.PT2:
        return torch.export.load(io.BytesIO(content)).module().to(device)
    if kind is FileKind.AOTINDUCTOR:
        return _load_package(content)
    return torch.jit.load(io.BytesIO(content), map_location=device).eval()  # type: ignore[no-untyped-call,no-any-return]


def _load_package(content: bytes) -> torch.nn.Module:
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"  # without it a batch of another size reads foreign memory
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "package.pt2"
        path.write_bytes(content)
        return torch._inductor.aoti_load_package(str(path))  # type: ignore[return-value]
