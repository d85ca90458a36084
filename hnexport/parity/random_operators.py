"""Operators that compute something else at each call: a bundle's own graphs hold none.

They are read off the graph, since outputs do not show all of them: onnxruntime leaves a Dropout out whatever its
`training_mode` says, where other runtimes drop values.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from hnexport.bundle.onnx_data import read_model
from hnexport.bundle.onnx_tensors import is_external
from hnexport.parity.results import Check

__all__ = ["check_nothing_random", "random_operators"]

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_TRAINING_INPUT = 2  # of a Dropout
_NAME = "no operator is random or in training mode"


def check_nothing_random(found: tuple[str, ...]) -> Check:
    """The check of what `random_operators` found in an artifact's files."""
    detail = f"{found[0]} ({len(found)} in all)" if found else "as its operators say"
    return Check(name=_NAME, passed=not found, detail=detail)


def random_operators(path: Path) -> tuple[str, ...]:
    """Those of an ONNX file, of graphs inside nodes and of functions too, by name.

    A Dropout counts unless the file itself says that it is not in training mode.

    Raises:
        BundleError: it is no ONNX file.
    """
    model = read_model(path)
    values = {tensor.name: tensor for tensor in _initializers(model.graph)}
    nodes = [*_nodes(model.graph.node), *_nodes(node for function in model.functions for node in function.node)]
    for node in nodes:
        if node.op_type == "Constant" and node.output:
            values.update((node.output[0], item.t) for item in node.attribute if item.name == "value")
    return tuple(
        f"{path.name}: {node.op_type} {node.name or node.output[0]}" for node in nodes if _is_random(node, values)
    )


def _is_random(node: NodeProto, values: dict[str, TensorProto]) -> bool:
    if node.op_type == "BatchNormalization":
        return any(item.name == "training_mode" and item.i for item in node.attribute)
    if node.op_type != "Dropout":
        return node.op_type in _RANDOM
    name = node.input[_TRAINING_INPUT] if len(node.input) > _TRAINING_INPUT else ""
    if not name:
        return False
    value = values.get(name)
    return value is None or is_external(value) or bool(np.any(onnx.numpy_helper.to_array(value)))


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph.node)


def _initializers(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for inner in _graphs(node):
            yield from _initializers(inner)


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for item in node.attribute:
        if item.type == AttributeProto.GRAPH:
            yield item.g
        yield from item.graphs
