"""ONNX files and where their tensors lie: the one reader of external data. (It needs onnx; `runtime` doesn't use it.)

An ONNX file may name any file, offset and shape for a tensor. Here a tensor's place is checked against the file that
it names before anything is allocated, and its values are mapped, not read. onnxruntime 1.31 and OpenVINO 2026.4 check
by themselves that a place lies in the model's own folder; they don't say which tensor is wrong in which way.
"""

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hnexport.errors import BundleError
from hnexport.names import LEGACY_SUPPLIED, SUPPLIED_FILE
from hnexport.reading import ReadError, is_plain_name, read_bytes, regular_size, shown

__all__ = [
    "Place",
    "check_model",
    "embed_tensors",
    "is_external",
    "place",
    "read_model",
    "relocate",
    "tensor_values",
]

_SUPPLIED = (SUPPLIED_FILE, LEGACY_SUPPLIED)  # the loader supplies what lies there
MAX_MODEL_BYTES = 2**31 - 1  # protobuf's own limit
MAX_NODES = 1_000_000  # with functions where they are called: ours have a thousand nodes, and no functions
MAX_CALLS = 64
MAX_NESTING = 8  # of graphs in graphs: ensemble.onnx has one Scan

Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an external tensor's values lie: little-endian, in row-major order."""

    file: Path
    offset_bytes: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    def read(self) -> Array:
        """The values, mapped into memory and read-only."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(self.file, self.dtype, "r", self.offset_bytes, self.shape)


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
            _check_inline(tensor, path)


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values lie in another file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def place(tensor: onnx.TensorProto, folder: Path, files: Collection[str] | None = None) -> Place | None:
    """Where an external tensor lies; None for one that the loader supplies.

    Args:
        folder: of the ONNX file.
        files: as in `check_model`.

    Raises:
        BundleError: the place is outside the folder or the file, or does not fit the tensor's dtype and shape.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{folder}: tensor {shown(tensor.name)}"
    location = entries.get("location", "")
    if location in _SUPPLIED:
        return None
    if not _is_inside(location, files):
        raise BundleError(
            f"{where} lies in {shown(location)}, which is no file of this folder that belongs to the model"
        )
    dtype, shape, length = _dtype(tensor, where), _shape(tensor, where), _size_bytes(tensor, where)
    offset, stated = (_number(entries, key, where) for key in ("offset", "length"))
    if stated is not None and stated != length:
        raise BundleError(f"{where} of shape {list(shape)} takes {length} bytes, its place has {stated}")
    try:
        size = regular_size(folder / location)
    except ReadError as error:
        raise BundleError(f"{where}: {error}; copy or build it again") from error
    if (offset or 0) + length > size:
        raise BundleError(
            f"{where} ends at byte {(offset or 0) + length}, {location} has {size}; copy or build it again"
        )
    return Place(file=folder / location, offset_bytes=offset or 0, dtype=dtype, shape=shape)


def tensor_values(tensor: onnx.TensorProto, path: Path, files: Collection[str] | None = None) -> Array | None:
    """The values of a tensor of the ONNX file at `path`: mapped where they are external, None where they are supplied.

    Raises:
        BundleError: as `place`, or the values in the file do not fit the tensor's shape.
    """
    if is_external(tensor):
        found = place(tensor, path.parent, files)
        return None if found is None else found.read()
    _check_inline(tensor, path)
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # onnx and numpy have several
        raise BundleError(f"{path}: tensor {shown(tensor.name)} cannot be read: {error}") from error


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
            if is_external(tensor) and entry.key == "location" and entry.value not in _SUPPLIED:
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


def _is_inside(location: str, files: Collection[str] | None) -> bool:
    if files is not None:
        return is_plain_name(location) and location in files
    parts = PurePosixPath(location).parts
    return bool(parts) and all(is_plain_name(part) for part in parts)


def _dtype(tensor: onnx.TensorProto, where: str) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, ValueError, TypeError):
        dtype = np.dtype(object)
    if dtype.hasobject:
        raise BundleError(f"{where} has the dtype {tensor.data_type}, which is none of numbers")
    return dtype.newbyteorder("<")


def _shape(tensor: onnx.TensorProto, where: str) -> tuple[int, ...]:
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise BundleError(f"{where} has the shape {shown(list(shape))}, expected sizes of at least 0")
    return shape


def _size_bytes(tensor: onnx.TensorProto, where: str) -> int:
    bits = _BITS.get(tensor.data_type)
    elements = math.prod(_shape(tensor, where))
    return -(-elements * bits // 8) if bits is not None else elements * _dtype(tensor, where).itemsize


def _number(entries: Mapping[str, str], key: str, where: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BundleError(f"{where} has the {key} {shown(text)}, expected a number of bytes")
    return int(text)


def _check_inline(tensor: onnx.TensorProto, path: Path) -> None:
    """Compare the size of raw values with the shape; values in typed fields are at least as large as they say."""
    where = f"{path}: tensor {shown(tensor.name)}"
    if tensor.HasField("raw_data"):
        expected = _size_bytes(tensor, where)
        if len(tensor.raw_data) != expected:
            raise BundleError(
                f"{where} of shape {shown(list(tensor.dims))} takes {expected} bytes, the file holds "
                f"{len(tensor.raw_data)}"
            )
        return
    held = sum(len(getattr(tensor, name)) for name in _TYPED_FIELDS)
    if math.prod(_shape(tensor, where)) > 8 * held:  # up to eight numbers are packed into one
        raise BundleError(f"{where} of shape {shown(list(tensor.dims))} has {held} values in the file")


_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_BITS: Mapping[int, int] = MappingProxyType(
    {
        onnx.TensorProto.DataType.Value(name): bits
        for name, bits in (("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2), ("UINT2", 2))
        if name in onnx.TensorProto.DataType.keys()  # noqa: SIM118  # not a dict: newer versions have more
    }
)
