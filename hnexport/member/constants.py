"""Fold what does not depend on the inputs of an ONNX graph into constants, by running it in onnxruntime."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from hnexport.bundle.onnx_tensors import is_external
from hnexport.parity.trace.onnx_graph import dependent, keep_ancestors, open_values, reads

__all__ = ["fold_constants", "keep_used"]

Array = NDArray[np.generic]


def fold_constants(model: onnx.ModelProto, path: Path, values: MutableMapping[str, Array]) -> None:
    """Put constants in the place of every node that no input reaches.

    Args:
        path: of the file that the model was read from: its external data are found by it.
        values: of the graph's initializers, which gain the constants. What is not used any more goes.

    Raises:
        ParityError: onnxruntime cannot run those nodes.
    """
    graph = model.graph
    nodes, reached = dependent(model, [item.name for item in graph.input if item.name not in values])
    kept = {id(node) for node in nodes}
    fixed = {name for node in graph.node if id(node) not in kept for name in node.output if name}
    read = {name for node in nodes for name in reads(node)} | {item.name for item in graph.output}
    wanted = sorted(fixed & (read - reached))
    if wanted:
        part = onnx.ModelProto()
        part.CopyFrom(model)
        keep_ancestors(part, wanted)
        held = {tensor.name: values[tensor.name] for tensor in part.graph.initializer if is_external(tensor)}
        session = open_values(part, path, wanted, optimise=False, supplied=held)
        values.update(zip(wanted, session.run(wanted, {}), strict=True))
    left = [node for node in graph.node if id(node) in kept]
    _replace_nodes(graph, left)
    _drop_zeros(graph, values)
    keep_used(graph, values)


def keep_used(graph: onnx.GraphProto, values: MutableMapping[str, Array]) -> None:
    """Drop initializers, values and descriptions of values that nothing reads."""
    used = {name for node in graph.node for name in reads(node)} | {item.name for item in graph.output}
    for name in [name for name in values if name not in used]:
        del values[name]
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    made = {name for node in graph.node for name in node.output}
    infos = [item for item in graph.value_info if item.name in made]
    del graph.value_info[:]
    graph.value_info.extend(infos)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _drop_zeros(graph: onnx.GraphProto, values: Mapping[str, Array]) -> None:
    """Leave out additions of a constant scalar zero: what the guard of an id is of a member that exists."""
    inputs = {item.name for item in graph.input}
    outputs = {item.name for item in graph.output}
    for node in [node for node in graph.node if node.op_type == "Add" and len(node.input) == 2]:
        kept = [name for name in node.input if not _is_zero(values.get(name))]
        if len(kept) != 1:
            continue
        given, made = kept[0], node.output[0]
        if made not in outputs:
            graph.node.remove(node)
            _rename(graph, made, given)
        elif given not in inputs and given not in outputs and given not in values:
            graph.node.remove(node)
            _rename(graph, given, made)


def _is_zero(value: Array | None) -> bool:
    return value is not None and value.ndim == 0 and not value.any()


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let every node of the graph, and of the graphs inside its nodes, know a value by another name."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, old, new)
    for item in graph.output:
        item.name = new if item.name == old else item.name
