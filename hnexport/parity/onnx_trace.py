"""What an ONNX graph computes on the way: its intermediate values become outputs of a copy in memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.onnx_data import read_model, relocate, tensor_values
from hnexport.errors import BundleError, ParityError
from hnexport.parity.layers import LayerCall, LayerKind
from hnexport.parity.onnx_signature import NUMPY_TYPES
from hnexport.parity.signature import cast_images, logits_output
from hnexport.parity.trace import Trace

__all__ = ["OnnxTracer", "OnnxWeights", "constants", "load_graph"]

Array = NDArray[np.generic]

LAYERS = {
    "Conv": LayerKind.CONVOLUTION,
    "FusedConv": LayerKind.CONVOLUTION,
    "BatchNormalization": LayerKind.NORM,
    "Gemm": LayerKind.LINEAR,
    "MatMul": LayerKind.LINEAR,
}
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


class OnnxWeights:
    """The part of a graph that computes the tensors of its layers, without the layers themselves."""

    def __init__(self, path: Path) -> None:
        model = load_graph(path)
        self._constants = constants(model, path)
        self._nodes = _layer_nodes(model)
        wanted = {name for node in self._nodes for name in node.input[1:] if name and name not in self._constants}
        self._wanted = sorted(wanted - {item.name for item in model.graph.input})
        _keep_ancestors(model, self._wanted)
        self._session = _open(model, path, self._wanted) if self._wanted else None

    def run(self, cond_id: int) -> tuple[LayerCall, ...]:
        """The layers with the tensors that one member gives them."""
        computed: dict[str, Array] = {}
        if self._session is not None:
            inputs = self._session.get_inputs()
            feed = {item.name: np.full([1] * len(item.shape), cond_id, NUMPY_TYPES[item.type]) for item in inputs}
            computed = dict(zip(self._wanted, self._session.run(self._wanted, feed), strict=True))
        return tuple(_call(node, {**self._constants, **computed}) for node in self._nodes)


class OnnxTracer:
    """A copy of a graph in which every value is an output, or (without `weights`) all that depends on the image."""

    def __init__(self, path: Path, *, weights: bool = True, logits: str = "logits") -> None:
        model = load_graph(path)
        self._constants = constants(model, path)
        self._nodes = _layer_nodes(model)
        names = [item.name for item in model.graph.output]
        self._logits = names[logits_output(path, names, logits)]
        nodes = model.graph.node if weights else _descendants(model, _image_input(model))
        computed = [name for node in nodes for name in node.output if name]
        self._names = [name for name in computed if name not in self._constants]
        self._session = _open(model, path, self._names, optimise=False)

    def run(self, cond_id: int, images: Array) -> Trace:
        """Record one member and batch."""
        feed = {}
        for item in self._session.get_inputs():
            dtype = np.dtype(NUMPY_TYPES[item.type])
            scalar = dtype.kind == "i" and len(item.shape) <= 1
            feed[item.name] = np.full([1] * len(item.shape), cond_id, dtype) if scalar else cast_images(images, dtype)
        values = dict(zip(self._names, self._session.run(self._names, feed), strict=True))
        known = {**self._constants, **values}
        return Trace(
            calls=tuple(_call(node, known) for node in self._nodes),
            values={name: value for name, value in values.items() if np.issubdtype(value.dtype, np.floating)},
            logits=values[self._logits],
        )


def _constant(tensor: onnx.TensorProto, path: Path) -> Array:
    try:
        values = tensor_values(tensor, path)
    except BundleError as error:
        raise ParityError(str(error)) from error
    return np.empty(0) if values is None else values  # supplied at load


def _layer_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that apply tensors to something that comes from the image."""
    image = _image_input(model)
    return [node for node in _descendants(model, image) if node.op_type in LAYERS]


def _call(node: onnx.NodeProto, values: dict[str, Array]) -> LayerCall:
    tensors = [values[name] for name in node.input[1:] if name in values]
    if node.op_type == "Gemm" and not next((item.i for item in node.attribute if item.name == "transB"), 0):
        tensors[:1] = [tensors[0].T] if tensors else []
    if node.op_type == "MatMul":
        tensors = [tensor.T for tensor in tensors]
    return LayerCall(kind=LAYERS[node.op_type], name=node.name, tensors=tuple(tensors), output=node.output[0])


def _image_input(model: onnx.ModelProto) -> str:
    initializers = {tensor.name for tensor in model.graph.initializer}
    images = [
        item.name
        for item in model.graph.input
        if item.name not in initializers and len(item.type.tensor_type.shape.dim) >= 2
    ]
    if len(images) != 1:
        raise ParityError(f"expected one image input, the graph has {images or 'none'}")
    return str(images[0])


def _descendants(model: onnx.ModelProto, source: str) -> list[onnx.NodeProto]:
    """The nodes that depend on a value, in the file's order: converters leave nodes before what they read."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    reached, pending = {source}, [source]
    while pending:
        for node in readers.get(pending.pop(), ()):
            fresh = [name for name in node.output if name not in reached]
            reached.update(fresh)
            pending += fresh
    return [node for node in model.graph.node if any(name in reached for name in node.input)]


def _keep_ancestors(model: onnx.ModelProto, wanted: Sequence[str]) -> None:
    """Drop every node, input and initializer that the wanted values do not need."""
    producers = {name: node for node in model.graph.node for name in node.output}
    needed, pending = set(wanted), list(wanted)
    while pending:
        node = producers.get(pending.pop())
        fresh = [name for name in node.input if name not in needed] if node else []
        needed.update(fresh)
        pending += fresh
    kept = [node for node in model.graph.node if needed.intersection(node.output)]
    _replace(model.graph.node, kept)
    _replace(model.graph.input, [item for item in model.graph.input if item.name in needed])
    _replace(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in needed])


def _replace(field: "object", items: Iterable[object]) -> None:
    copies = list(items)
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]


def _open(
    model: onnx.ModelProto, path: Path, outputs: Sequence[str], *, optimise: bool = True
) -> onnxruntime.InferenceSession:
    _replace(model.graph.output, [onnx.ValueInfoProto(name=name) for name in outputs])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        options.add_session_config_entry(_EXTERNAL_FOLDER, str(relocate(model, path)))
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common root
        raise ParityError(f"onnxruntime cannot open the graph of {path}: {error}") from error
