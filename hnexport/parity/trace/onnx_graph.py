"""An ONNX graph as data: what reads what, in subgraphs too, what depends on what, and a session of a part of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.onnx_data import read_model, relocate
from hnexport.bundle.onnx_tensors import tensor_values
from hnexport.errors import BundleError, ParityError

__all__ = ["constants", "dependent", "free_inputs", "keep_ancestors", "load_graph", "open_values", "reads"]

Array = NDArray[np.generic]

_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


def load_graph(path: Path) -> onnx.ModelProto:
    """An ONNX file without its external data.

    Raises:
        ParityError: it is not an ONNX file.
    """
    try:
        return read_model(path)
    except BundleError as error:
        raise ParityError(str(error)) from error


def constants(model: onnx.ModelProto, path: Path) -> dict[str, Array]:
    """The values of a graph's initializers and Constant nodes by name, external data mapped and not read.

    Raises:
        ParityError: a tensor's place or size is wrong.
    """
    found = {tensor.name: _constant(tensor, path) for tensor in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value" and node.output:
                found[node.output[0]] = _constant(attribute.t, path)
    return found


def _constant(tensor: onnx.TensorProto, path: Path) -> Array:
    try:
        values = tensor_values(tensor, path)
    except BundleError as error:
        raise ParityError(str(error)) from error
    return np.empty(0) if values is None else values  # supplied at load


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node reads, those that its subgraphs take from outside among them."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {item.name for item in (*graph.input, *graph.initializer)}
            own.update(name for inner in graph.node for name in inner.output)
            inside = [name for inner in graph.node for name in reads(inner)]
            yield from (name for name in (*inside, *(item.name for item in graph.output)) if name not in own)


def free_inputs(model: onnx.ModelProto) -> list[str]:
    """The inputs that have no value in the file."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [item.name for item in model.graph.input if item.name not in initializers]


def dependent(model: onnx.ModelProto, sources: Iterable[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that depend on some values, in an order in which they can run, and the names of all such values.

    Converters leave nodes before what they read.
    """
    readers: dict[str, list[int]] = {}
    for number, node in enumerate(model.graph.node):
        for name in reads(node):
            readers.setdefault(name, []).append(number)
    reached = set(sources)
    pending, found = list(reached), set()
    while pending:
        for number in readers.get(pending.pop(), ()):
            found.add(number)
            fresh = [name for name in model.graph.node[number].output if name and name not in reached]
            reached.update(fresh)
            pending += fresh
    return _in_order([model.graph.node[number] for number in sorted(found)]), reached


def _in_order(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each after what it reads, otherwise in the file's order."""
    missing = {name for node in nodes for name in node.output}
    ordered: list[onnx.NodeProto] = []
    waiting = list(nodes)
    while waiting:
        later: list[onnx.NodeProto] = []
        for node in waiting:
            if missing.intersection(reads(node)):
                later.append(node)
            else:
                ordered.append(node)
                missing.difference_update(node.output)
        if len(later) == len(waiting):
            return [*ordered, *later]  # a circle: the runtime will say so
        waiting = later
    return ordered


def keep_ancestors(model: onnx.ModelProto, wanted: Sequence[str]) -> None:
    """Drop every node, input and initializer that the wanted values do not need."""
    producers = {name: node for node in model.graph.node for name in node.output}
    needed, pending = set(wanted), list(wanted)
    while pending:
        node = producers.get(pending.pop())
        fresh = [name for name in reads(node) if name not in needed] if node else []
        needed.update(fresh)
        pending += fresh
    kept = [node for node in model.graph.node if needed.intersection(node.output)]
    _replace(model.graph.node, kept)
    _replace(model.graph.input, [item for item in model.graph.input if item.name in needed])
    _replace(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in needed])


def open_values(
    model: onnx.ModelProto,
    path: Path,
    outputs: Sequence[str],
    *,
    optimise: bool = True,
    supplied: Mapping[str, Array] | None = None,
) -> onnxruntime.InferenceSession:
    """A session of the graph with these values as its outputs; changes `model`.

    Args:
        supplied: values of initializers that no file holds.

    Raises:
        ParityError: onnxruntime cannot open it.
    """
    _replace(model.graph.output, [onnx.ValueInfoProto(name=name) for name in outputs])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        if supplied:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(one, order="C")) for one in supplied.values()]
            options.add_external_initializers(list(supplied), values)
        options.add_session_config_entry(_EXTERNAL_FOLDER, str(relocate(model, path)))
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common root
        raise ParityError(f"onnxruntime cannot open the graph of {path}: {error}") from error


def _replace(field: "object", items: Iterable[object]) -> None:
    copies = list(items)
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]
