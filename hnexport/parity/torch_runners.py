"""The runner of TorchScript and `.pt2` files. They are programs: whoever loads one runs it.

Only `hnexport.parity.programs` decides in which process that happens.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.errors import ParityError
from hnexport.export.capture import GENERATOR_PREFIX
from hnexport.parity.layers import call_weights, match_layers, network_layers
from hnexport.parity.limits import FULL
from hnexport.parity.torch_trace import trace_torch
from hnexport.parity.trace import Trace
from hnexport.spec import PipelineSpec

__all__ = ["TorchRunner", "load_torch"]

Array = NDArray[np.generic]


class TorchRunner:
    """A TorchScript or `.pt2` file `(cond_id, image) -> logits` under PyTorch."""

    limits = FULL

    def __init__(self, content: bytes, name: str, spec: PipelineSpec, device: str = "cpu") -> None:
        """Load the program in `content`, the bytes of a file named `name`, on PyTorch's `device`.

        Raises:
            ParityError: PyTorch cannot load it.
        """
        self._spec = spec
        self._device = device
        try:
            self._module = load_torch(content, name, self._device)
        except Exception as error:  # torch raises anything on a file it cannot read
            raise ParityError(
                f"PyTorch {torch.__version__} cannot load {name}: {str(error) or type(error).__name__}"
            ) from error
        self.runtime = f"torch {torch.__version__} {device}"

    def run(self, cond_id: int, images: Array) -> Array:
        """Logits of one member."""
        with torch.inference_mode():
            cond = torch.tensor(cond_id, device=self._device)
            logits = self._module(cond, torch.from_numpy(images).to(self._device))
        return logits.cpu().numpy()  # type: ignore[no-any-return]

    def ensemble(self, cond_ids: NDArray[np.int64], images: Array) -> tuple[Array, ...]:
        """The program's method `ensemble`: several members in one call."""
        where, method = self._device, cast("Callable[..., tuple[Tensor, ...]]", self._module.ensemble)
        with torch.inference_mode():
            outputs = method(torch.from_numpy(cond_ids).to(where), torch.from_numpy(images).to(where))
        return tuple(output.cpu().numpy() for output in outputs)

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's parameters and buffers."""
        for name, tensor in self._module.state_dict().items():
            yield name.removeprefix(GENERATOR_PREFIX), tensor.detach().cpu().numpy()

    def weights(self, cond_id: int) -> Mapping[str, Array]:
        """The tensors that the program gives its layers, by slot."""
        dtype, shape = self._spec.image_input
        layers = network_layers(self._spec.network)
        trace = trace_torch(self._module, cond_id, np.zeros((1, *shape), dtype=dtype), self._device)
        return call_weights(layers, match_layers(layers, trace.calls))

    def trace(self, cond_id: int, images: Array) -> Trace:
        """Every layer and every floating-point value of one call."""
        return trace_torch(self._module, cond_id, images, self._device, values=True)


def load_torch(content: bytes, name: str, device: str) -> torch.nn.Module:
    """A TorchScript or `.pt2` file, by its bytes and its name, as a module on a device."""
    if name.endswith(".pt2"):
        return torch.export.load(io.BytesIO(content)).module().to(device)
    return torch.jit.load(io.BytesIO(content), map_location=device).eval()  # type: ignore[no-untyped-call,no-any-return]
