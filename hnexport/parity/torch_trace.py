"""What a PyTorch program computes on the way: a dispatch mode sees every operator, in eager, TorchScript and `.pt2`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hnexport.parity.layers import LayerCall, LayerKind
from hnexport.parity.trace import Trace

__all__ = ["trace_torch"]

Array = NDArray[np.generic]


def trace_torch(
    program: Callable[[Tensor, Tensor], Tensor],
    cond_id: int,
    images: Array,
    device: str = "cpu",
    *,
    values: bool = False,
) -> Trace:
    """Run a program `(cond_id, image) -> logits` and record its layers.

    Args:
        values: whether to keep every floating-point value too, and not only the layers' tensors.
    """
    recorder = _Recorder(keep_values=values)
    with torch.no_grad(), recorder:
        logits = program(torch.tensor(cond_id, device=device), torch.from_numpy(images).to(device))
    return Trace(calls=tuple(recorder.calls), values=recorder.values, logits=logits.detach().cpu().numpy())


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the calls of layers and, if asked, every value."""

    def __init__(self, *, keep_values: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keep_values = keep_values
        self.calls: list[LayerCall] = []
        self.values: dict[str, Array] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else [result]
        name = f"{len(self.values)}/{func.overloadpacket.__name__}"
        kind, tensors = _layer(func.overloadpacket.__name__, args)
        if kind is not None:
            arrays = tuple(_array(tensor) for tensor in tensors if tensor is not None)
            self.calls.append(LayerCall(kind=kind, name=name, tensors=arrays, output=name))
        if self._keep_values and isinstance(outputs[0], Tensor) and outputs[0].is_floating_point():
            self.values[name] = _array(outputs[0].clone())  # a later operator may work in place
        else:
            self.values[name] = np.empty(0)
        return result


def _layer(operator: str, args: tuple[Any, ...]) -> tuple[LayerKind | None, tuple[Tensor | None, ...]]:
    if "convolution" in operator:
        return LayerKind.CONVOLUTION, (args[1], args[2])
    if "batch_norm" in operator:
        return LayerKind.NORM, args[1:5]
    if operator == "addmm":
        return LayerKind.LINEAR, (args[2].t(), args[0])
    if operator == "mm":
        return LayerKind.LINEAR, (args[1].t(),)
    return None, ()


def _array(tensor: Tensor) -> Array:
    plain = tensor.detach().dequantize() if tensor.is_quantized else tensor.detach()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).cpu().numpy()  # numpy has no bfloat16
