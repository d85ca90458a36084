"""ONNX: one graph, written four times over one weights file.

- `model.onnx`: `(cond_id, image) -> logits`.
- `ensemble.onnx`: the same for several members in one call, see `hnexport.export.ensemble`.
- `hypernet.onnx`: `cond_id ->` every tensor of the main network, by slot name.
- `network.onnx`: `image -> logits`. Shared tensors are in the weights file; every other tensor is an external
  initializer that the loader supplies from the outputs of `hypernet.onnx`: by name
  (`SessionOptions.add_external_initializers`), or as `member.bin`, which holds them one after the other in the order of
  `supplied`, float32 little-endian without gaps.

The last two are the first one, cut at the main network's weights. Bases whose chunks are joined lie in the weights file
by output channel (see `hnexport.hypernet.layout`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from hnexport.errors import ExportError
from hnexport.export.capture import Capture
from hnexport.export.ensemble import ensemble_model, inline_shared
from hnexport.export.graph import WeightGraph, weight_graph
from hnexport.export.rewrite import laid_out
from hnexport.export.weights_file import WeightsFile, write_weights

__all__ = [
    "ENSEMBLE_FILE",
    "HYPERNET_FILE",
    "MODEL_FILE",
    "NETWORK_FILE",
    "SUPPLIED",
    "SUPPLIED_FILES",
    "OnnxFiles",
    "write_onnx",
]

MODEL_FILE = "model.onnx"
HYPERNET_FILE = "hypernet.onnx"
NETWORK_FILE = "network.onnx"
ENSEMBLE_FILE = "ensemble.onnx"
SUPPLIED = "member.bin"  # the file of tensors that the loader supplies; no bundle holds it
SUPPLIED_FILES = (SUPPLIED, "supplied-at-load")  # the second is its name in bundles of hnexport 0.1


@dataclass(frozen=True, kw_only=True)
class OnnxFiles:
    """What was written.

    Attributes:
        opset: version of the default operator set.
        supplied: the slots whose tensors the loader of `network.onnx` supplies.
    """

    opset: int
    ir_version: int
    supplied: tuple[str, ...]


def write_onnx(capture: Capture, folder: Path, metadata: Mapping[str, str]) -> OnnxFiles:
    """Write the four ONNX files and their weights file into `folder`.

    Args:
        metadata: goes into each file's metadata properties.

    Raises:
        ExportError: the exporter failed, or a file does not pass ONNX's checker.
    """
    graph = weight_graph(capture)
    weights = write_weights(folder, laid_out(capture.spec, capture.tensors))
    hypernet, network = _cut_hypernet(graph), _cut_network(graph)
    models = {
        MODEL_FILE: graph.model,
        ENSEMBLE_FILE: ensemble_model(graph),
        HYPERNET_FILE: hypernet,
        NETWORK_FILE: network,
    }
    for file, model in models.items():
        _attach(model, weights)
        if file == ENSEMBLE_FILE:
            inline_shared(model)
        _save(model, folder / file, {**metadata, "hnexport.file": file.removesuffix(".onnx")})
    supplied = tuple(name for name, value in graph.weights.items() if value.producer() is not None)
    return OnnxFiles(opset=graph.model.opset_imports[""], ir_version=graph.model.ir_version, supplied=supplied)


def _cut_hypernet(graph: WeightGraph) -> ir.Model:
    """The part of the graph above the weights, with every slot as an output."""
    model = _copy(graph)
    values = _values(model)
    model.graph.outputs.clear()
    for slot, original in graph.weights.items():
        value = values[str(original.name)]
        if value.producer() is None:  # a stored tensor can't be an output under a second name
            node = ir.node("Identity", [value], name=f"weights.{slot}/Identity")
            model.graph.append(node)
            node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = slot, value.type, value.shape
            value = node.outputs[0]
        model.graph.outputs.append(value)
    passes.RemoveUnusedNodesPass()(model)
    del model.graph.inputs[1]
    _drop_unused(model)
    return model


def _cut_network(graph: WeightGraph) -> ir.Model:
    """The part of the graph below the weights."""
    model, offset = _copy(graph), 0
    values = _values(model)
    for slot, original in graph.weights.items():
        if original.producer() is None:
            continue
        computed = values[str(original.name)]
        computed.name = f"{slot}/computed"
        supplied = ir.Value(name=slot, type=computed.type, shape=computed.shape)
        for use in tuple(computed.uses()):
            use.node.replace_input_with(use.idx, supplied)
        shape = _static(original)
        length = 4 * math.prod(shape.numpy())
        supplied.const_value = ir.ExternalTensor(SUPPLIED, offset, length, ir.DataType.FLOAT, shape=shape, name=slot)
        offset += length
        model.graph.initializers[slot] = supplied
    passes.RemoveUnusedNodesPass()(model)
    del model.graph.inputs[0]
    _drop_unused(model)
    return model


def _static(value: ir.Value) -> ir.Shape:
    if value.shape is None or not value.shape.is_static():
        raise ExportError(f"{value.name}: its shape is not known")
    return value.shape


def _copy(graph: WeightGraph) -> ir.Model:
    return ir.serde.deserialize_model(ir.serde.serialize_model(graph.model))


def _values(model: ir.Model) -> dict[str, ir.Value]:
    values = {str(value.name): value for value in (*model.graph.inputs, *model.graph.initializers.values())}
    for node in model.graph:
        values.update((str(value.name), value) for value in node.outputs)
    return values


def _drop_unused(model: ir.Model) -> None:
    for value in [value for value in model.graph.inputs if not value.uses() and not value.is_graph_output()]:
        model.graph.inputs.remove(value)
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]


def _attach(model: ir.Model, weights: WeightsFile) -> None:
    """Turn the stored tensors from inputs into initializers that refer to the weights file."""
    for value in [value for value in model.graph.inputs if value.name in weights.locations]:
        model.graph.inputs.remove(value)
        value.const_value = weights.reference(str(value.name))
        model.graph.initializers[str(value.name)] = value


def _save(model: ir.Model, path: Path, metadata: Mapping[str, str]) -> None:
    from hnexport import __version__

    model.producer_name, model.producer_version = "hnexport", __version__
    model.metadata_props.update(metadata)
    path.write_bytes(ir.serde.serialize_model(model).SerializeToString(deterministic=True))
    if SUPPLIED.encode() in path.read_bytes():
        return  # the checker insists on external files that exist
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        raise ExportError(f"{path.name} does not pass ONNX's checker: {error}") from error
