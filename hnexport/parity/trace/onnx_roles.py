"""Which operands of an ONNX operator are which tensors of a layer, with axes in PyTorch's order."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["by_role"]

Array = NDArray[np.generic]

_AFFINE = {1: "weight", 2: "bias"}
_ROLES: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "Conv": _AFFINE,
        "FusedConv": _AFFINE,
        "ConvTranspose": _AFFINE,
        "BatchNormalization": {**_AFFINE, 3: "running_mean", 4: "running_var"},
        "LayerNormalization": _AFFINE,
        "RMSNormalization": _AFFINE,
        "GroupNormalization": _AFFINE,
        "InstanceNormalization": _AFFINE,
        "Gemm": _AFFINE,
        "MatMul": {1: "weight"},
        "Gather": {0: "weight"},
        "PRelu": {1: "weight"},
    }
)
# ONNX orders the gates of a recurrent layer otherwise: at each place, which of ONNX's PyTorch has there.
_GATES: Mapping[str, tuple[int, ...]] = MappingProxyType({"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)})


def by_role(node: onnx.NodeProto, operands: Mapping[int, Array], foreign: Collection[int] = ()) -> dict[str, Array]:
    """The operands of a node that do not depend on the graph's inputs, by role; the others are numbered.

    Args:
        operands: by their position among the node's inputs.
        foreign: the positions of those that are no tensors of a layer, and so are numbered.
    """
    roles = _ROLES.get(node.op_type, {})
    tensors = {}
    for position, array in operands.items():
        if node.op_type in _GATES and position in (1, 2, 3):
            tensors.update(_unpacked(node.op_type, position, array))
        else:
            tensors[str(position) if position in foreign else roles.get(position, str(position))] = array
    if "weight" in tensors and tensors["weight"].ndim == 2 and _lies_transposed(node):
        tensors["weight"] = tensors["weight"].T
    return tensors


def _lies_transposed(node: onnx.NodeProto) -> bool:
    """Whether a matrix is `[in, out]`, where PyTorch has `[out, in]`."""
    if node.op_type == "Gemm":
        return not next((item.i for item in node.attribute if item.name == "transB"), 0)
    return bool(node.op_type == "MatMul")


def _unpacked(operator: str, position: int, packed: Array) -> dict[str, Array]:
    """Each direction's tensors of a recurrent layer's `[direction, gates, …]`, the gates in PyTorch's order."""
    order = _GATES[operator]
    found = {}
    for direction, part in enumerate(packed):
        halves = np.split(part, 2) if position == 3 else [part]  # the biases of both products
        for half, tensor in enumerate(halves):
            found[f"{position}.{direction}.{half}"] = np.concatenate(
                [np.split(tensor, len(order))[gate] for gate in order]
            )
    return found
