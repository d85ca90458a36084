"""The runner of TorchScript and `.pt2` files. They are programs: whoever loads one runs it.

Only `hnexport.parity.programs` decides in which process that happens.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.errors import ParityError
from hnexport.export.capture import GENERATOR_PREFIX
from hnexport.export.ensemble import ENSEMBLE_OUTPUTS
from hnexport.names import MEMBER_PREFIX, SHARED_PREFIX
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity.kinds import FileKind, torch_kind
from hnexport.parity.signature import GraphSignature
from hnexport.parity.torch_program import TorchProgram
from hnexport.parity.trace import Given, Trace
from hnexport.parity.trace.torch_trace import trace_torch

__all__ = ["TorchRunner", "load_torch"]

Array = NDArray[np.generic]


class TorchRunner:
    """A TorchScript or `.pt2` file `(cond_id, image) -> logits` under PyTorch."""

    def __init__(
        self, content: bytes, name: str, spec: PipelineSpec, signature: GraphSignature, device: str = "cpu"
    ) -> None:
        """Load the program in `content`, the bytes of a file named `name`, on PyTorch's `device`.

        Raises:
            ParityError: PyTorch cannot load it, or it has another signature.
        """
        self._signature, self._device = signature, device
        self._outputs = [output.name for output in signature.outputs]
        try:
            self._module = load_torch(content, name, self._device)
        except Exception as error:  # torch raises anything on a file it cannot read
            raise ParityError(
                f"PyTorch {torch.__version__} cannot load {name}: {str(error) or type(error).__name__}"
            ) from error
        self._program = TorchProgram(name, self._module, signature, device)
        self.limits = self._program.limits
        self.runtime = f"torch {torch.__version__} {device}"

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        with torch.inference_mode():
            cond = torch.tensor(cond_id, device=self._device)
            logits = self._program(cond, torch.from_numpy(inputs["image"]).to(self._device))
        return {"logits": logits.cpu().numpy()}

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a program with the signature of `ensemble.onnx` returns."""
        with torch.inference_mode():
            ids = torch.from_numpy(cond_ids).to(self._device)
            outputs = self._program.together(ids, torch.from_numpy(inputs["image"]).to(self._device))
        found = (output.cpu().numpy() for output in outputs)
        return dict(zip(ENSEMBLE_OUTPUTS, found, strict=True))

    def ensemble(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The program's method `ensemble`: several members in one call."""
        where, method = self._device, cast("Callable[..., tuple[Tensor, ...]]", self._module.ensemble)
        with torch.inference_mode():
            outputs = method(torch.from_numpy(cond_ids).to(where), torch.from_numpy(inputs["image"]).to(where))
        return dict(zip(ENSEMBLE_OUTPUTS, (output.cpu().numpy() for output in outputs), strict=True))

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's parameters and buffers."""
        for name, tensor in self._module.state_dict().items():
            yield name.removeprefix(GENERATOR_PREFIX), tensor.detach().cpu().numpy()

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """The tensors that the program gives its operators, and what else has the shape of a stored slot."""
        given = [inputs[item.name] for item in self._signature.inputs[1:]]
        shapes = _slot_shapes(self.stored())
        return trace_torch(self._program, cond_id, given, self._outputs, self._device, shapes=shapes).given

    def trace(self, cond_id: int, inputs: Mapping[str, Array]) -> Trace:
        """Every floating-point value of one call, and the tensors that the program gives its operators."""
        given = [inputs[item.name] for item in self._signature.inputs[1:]]
        return trace_torch(self._program, cond_id, given, self._outputs, self._device, values=True)


def _slot_shapes(stored: Iterable[tuple[str, Array]]) -> set[tuple[int, ...]]:
    """The shapes of slots that are stored as they are, for all members or for each."""
    tensors = dict(stored)
    shared = {array.shape for name, array in tensors.items() if name.startswith(SHARED_PREFIX)}
    return shared | {array.shape[1:] for name, array in tensors.items() if name.startswith(MEMBER_PREFIX)}


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
