"""ONNX files and the tensors in them: the one reader of external data. (It needs onnx; `runtime` doesn't use it.)"""

import os
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from hnexport.bundle.onnx_tensors import FROM_LOADER, check_inline, is_external, place, tensor_values
from hnexport.errors import BundleError
from hnexport.reading import ReadError, read_bytes

__all__ = ["check_model", "embed_tensors", "read_model", "relocate"]

MAX_MODEL_BYTES = 2**31 - 1  # protobuf's own limit
MAX_NODES = 1_000_000  # with functions where they are called: ours have a thousand nodes, and no functions
MAX_CALLS = 64
MAX_NESTING = 8  # of graphs in graphs: ensemble.onnx has one Scan


def read_model(path: Path) -> onnx.ModelProto:
    """An ONNX file without its external data.

    Raises:
        BundleError: it is missing, no regular file, or no ONNX file.
    """
    try:
        data = read_bytes(path, MAX_MODEL_BYTES)
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except ReadError as error:
        raise BundleError(f"{error}; copy or build it again") from error
    except Exception as error:  # protobuf's errors have no common root
        raise BundleError(f"{path} is not an ONNX file: {error}") from error
    if not model.graph.output or not model.opset_import:  # bytes that protobuf takes for an empty message
        raise BundleError(f"{path} is not an ONNX file: it has no graph with outputs")
    return model


def check_model(path: Path, files: Collection[str] | None = None) -> None:
    """Check an ONNX file before it is run: the place of every tensor, and how large its functions make it.

    Args:
        files: the names that a bundle's manifest lists; None for a file of its own, whose data lie in its folder or
            below.

    Raises:
        BundleError: it is no ONNX file, a tensor's place or size is wrong, or its functions call each other too often.
    """
    model = read_model(path)
    _check_functions(model, path)
    inside = (_of_nodes(function.node, path, 0) for function in model.functions)
    for tensor in chain(_tensors(model.graph, path), *inside):
        if is_external(tensor):
            place(tensor, path.parent, files)
        else:
            check_inline(tensor, path)


def embed_tensors(model: onnx.ModelProto, path: Path, files: Collection[str] | None = None) -> None:
    """Move the external tensors of the model from `path` into it; those that are supplied stay as they are.

    Raises:
        BundleError: as `tensor_values`.
    """
    for tensor in _tensors(model.graph, path):
        if is_external(tensor):
            values = tensor_values(tensor, path, files)
            if values is not None:
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, order="C"), tensor.name))


def relocate(model: onnx.ModelProto, path: Path) -> Path:
    """Let every external tensor name the file that its symlink leads to, and give the folder of that file.

    Tensors of graphs inside nodes move to the outer graph, whose names those graphs see: onnxruntime refuses data of
    inner graphs in a file that is a symlink or has several hard links.

    Raises:
        BundleError: the tensors lie in more than one folder.
    """
    _lift(model.graph)
    folders = set()
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if is_external(tensor) and entry.key == "location" and entry.value not in FROM_LOADER:
                real = Path(os.path.realpath(path.parent / entry.value))
                folders.add(real.parent)
                entry.value = real.name
    if len(folders) > 1:
        raise BundleError(f"{path}: its tensors lie in {len(folders)} folders, expected one; copy the files themselves")
    return folders.pop() if folders else path.parent


def _lift(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _lift(attribute.g)
                inner = [tensor for tensor in attribute.g.initializer if is_external(tensor)]
                own = [tensor for tensor in attribute.g.initializer if not is_external(tensor)]
                graph.initializer.extend(inner)
                del attribute.g.initializer[:]
                attribute.g.initializer.extend(own)


def _tensors(graph: onnx.GraphProto, path: Path, depth: int = 0) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph: initializers, constants, and those of the graphs inside its nodes."""
    if depth > MAX_NESTING:
        raise BundleError(f"{path}: its graphs lie more than {MAX_NESTING} deep in each other")
    yield from graph.initializer
    yield from _of_nodes(graph.node, path, depth)


def _of_nodes(nodes: Iterable[onnx.NodeProto], path: Path, depth: int) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            for inner in _graphs(attribute):
                yield from _tensors(inner, path, depth + 1)


def _check_functions(model: onnx.ModelProto, path: Path) -> None:
    """Count the nodes that runtimes make of the functions, each where it is called: forty may stand for 10^12."""
    functions = {(function.domain, function.name): function.node for function in model.functions}
    counted: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        if depth > MAX_CALLS:
            raise BundleError(f"{path}: its functions call each other more than {MAX_CALLS} deep, or themselves")
        total = 0
        for node in nodes:
            called = (node.domain, node.op_type)
            if called in functions and called not in counted:
                counted[called] = count(functions[called], depth + 1)
            inner = (graph.node for attribute in node.attribute for graph in _graphs(attribute))
            total += 1 + counted.get(called, 0) + sum(count(held, depth + 1) for held in inner)
        return total

    if functions and (nodes := count(model.graph.node, 0)) > MAX_NODES:
        raise BundleError(f"{path}: its functions stand for {nodes} nodes, at most {MAX_NODES} are run")


def _graphs(attribute: onnx.AttributeProto) -> Iterable[onnx.GraphProto]:
    return (*([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []), *attribute.graphs)
