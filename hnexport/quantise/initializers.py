"""Constants of a graph."""

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import numpy_helper

__all__ = ["constant"]


def constant(graph: onnx.GraphProto, name: str, value: ArrayLike) -> str:
    """An initializer of that name; its name."""
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
    return name
