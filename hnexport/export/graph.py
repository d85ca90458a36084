"""From a capture to an ONNX graph whose names show layer and role.

The stored tensors are graph inputs while the exporter's optimiser runs, so that it can neither fold nor merge them: two
tensors that happen to be equal (batch-norm shifts and means of a fresh network, say) stay two.
"""

import contextlib
import io
import logging
import re
from dataclasses import dataclass

import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from torch import nn

from hnexport.errors import ExportError
from hnexport.export.capture import GENERATOR_PREFIX, Capture, example_inputs, tracer_warnings_as_errors
from hnexport.export.rewrite import lay_out_bases, pool_globally
from hnexport.networks.wide_resnet.module import network_skeleton
from hnexport.networks.wide_resnet.pipeline import Preprocess
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spec import Slot

__all__ = ["WeightGraph", "weight_graph"]

LAYER_OPS = {nn.Conv2d: "Conv", nn.BatchNorm2d: "BatchNormalization", nn.Linear: "Gemm"}
LAYER_TENSORS = {
    "Conv": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
    "Gemm": ("weight", "bias"),
}


@dataclass(frozen=True, kw_only=True)
class WeightGraph:
    """An ONNX model `(cond_id, image, *stored tensors) -> logits`; the stored tensors are those of `laid_out`.

    Attributes:
        stored: the stored tensors' values by name; they are inputs of the graph until a writer attaches data.
        weights: for each slot of the main network, the value that holds its tensor. A value that is computed has the
            slot's name; a shared slot's value is its stored tensor.
    """

    spec: PipelineSpec
    model: ir.Model
    stored: dict[str, ir.Value]
    weights: dict[str, ir.Value]


def weight_graph(capture: Capture) -> WeightGraph:
    """Translate a capture to ONNX and name its nodes and values.

    Raises:
        ExportError: the exporter failed, or the graph's layers are not those of the main network.
    """
    try:
        _quieten_exporter()
        with tracer_warnings_as_errors(), contextlib.redirect_stdout(io.StringIO()):
            program = torch.onnx.export(capture.program, optimize=False, verbose=False)
    except Exception as error:
        raise ExportError(f"ONNX export of {capture.spec.name} failed: {error}") from error
    if program is None:
        raise ExportError("torch.onnx.export returned nothing")
    model = program.model
    stored = _free_stored_tensors(model.graph)
    program.optimize()
    model = program.model
    passes.ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    lay_out_bases(capture.spec, model.graph, stored)
    pool_globally(model.graph)
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
    weights = _find_weights(capture.spec, model.graph)
    _name_values(capture.spec, model.graph, stored, weights)
    model.graph.name = capture.spec.name
    model.graph.outputs[0].name = "logits"
    _name_batch_axis(capture, model.graph)
    return WeightGraph(spec=capture.spec, model=model, stored=stored, weights=weights)


def _name_batch_axis(capture: Capture, graph: ir.Graph) -> None:
    """Call the batch axis `batch` in every shape, not only the signature's: runtimes compare the names."""
    (image,) = [node for node in capture.program.graph.nodes if node.op == "placeholder" and node.name == "image"]
    symbol = re.compile(rf"\b{re.escape(str(image.meta['val'].shape[0]))}\b")
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    for value in values:
        if value.shape is not None and not value.shape.is_static():
            sizes = [size.value if isinstance(size, ir.SymbolicDim) else size for size in value.shape.dims]
            value.shape = ir.Shape([symbol.sub("batch", size) if isinstance(size, str) else size for size in sizes])


def _quieten_exporter() -> None:
    """The exporter warns once for each torchvision operator that it could have registered."""
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


def _free_stored_tensors(graph: ir.Graph) -> dict[str, ir.Value]:
    """Turn the stored tensors from initializers with data into inputs."""
    stored = {}
    for name in [name for name in graph.initializers if name.startswith(GENERATOR_PREFIX)]:
        value = graph.initializers.pop(name)
        value.const_value = None
        value.name = name.removeprefix(GENERATOR_PREFIX)
        graph.inputs.append(value)
        stored[value.name] = value
    return stored


def _find_weights(spec: PipelineSpec, graph: ir.Graph) -> dict[str, ir.Value]:
    """The value of each slot: the layers of the graph are matched with the network's, in the order of their calls."""
    image = graph.inputs[1]
    calls = _layer_calls(spec)
    nodes = [node for node in _descendants(graph, image) if node.op_type in LAYER_TENSORS]
    found = [node.op_type for node in nodes]
    expected = [LAYER_OPS[kind] for _, kind in calls]
    if found != expected:
        raise ExportError(f"the graph has {len(found)} layers, the network calls {len(expected)}, or in another order")
    slots = {slot.name: slot for slot in network_slots(spec.network)}
    weights: dict[str, ir.Value] = {}
    for (module, _), node in zip(calls, nodes, strict=True):
        node.name = f"{module}/{node.op_type}"
        for role, value in zip(LAYER_TENSORS[node.op_type], node.inputs[1:], strict=False):
            if value is not None:
                slot = slots[f"{module}.{role}"]
                _check_shape(slot, value)
                weights[slot.name] = value
    missing = [name for name in slots if name not in weights]
    if missing:
        raise ExportError(f"the graph has no value for {missing[0]}")
    return {name: weights[name] for name in slots}


def _check_shape(slot: Slot, value: ir.Value) -> None:
    shape = None if value.shape is None else tuple(value.shape.dims)
    if shape is not None and shape != slot.shape:
        raise ExportError(f"{slot.name}: expected shape {list(slot.shape)}, the graph has {list(shape)}")


def _layer_calls(spec: PipelineSpec) -> list[tuple[str, type[nn.Module]]]:
    """The network's layers in the order in which its forward pass calls them."""
    network = network_skeleton(spec.network)
    calls: list[tuple[str, type[nn.Module]]] = []

    def record(name: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: calls.append((name, type(module))))

    for name, module in network.named_modules():
        if type(module) in LAYER_OPS:
            record(name, module)
    _, image = example_inputs(spec)
    with torch.no_grad():
        network(Preprocess(spec)(image).to("meta"))
    return calls


def _descendants(graph: ir.Graph, source: ir.Value) -> list[ir.Node]:
    """The nodes that depend on a value, in the graph's (topological) order."""
    reached, nodes = {source}, []
    for node in graph:
        if any(value in reached for value in node.inputs):
            nodes.append(node)
            reached.update(node.outputs)
    return nodes


def _name_values(
    spec: PipelineSpec, graph: ir.Graph, stored: dict[str, ir.Value], weights: dict[str, ir.Value]
) -> None:
    """Give every node and value a name that shows where it belongs."""
    network = set(_descendants(graph, graph.inputs[1]))
    scopes: dict[ir.Value, str] = {value: name.rpartition(".")[0] for name, value in stored.items()}
    destinations = _destinations(graph, weights)
    owners = {value: slot for slot, value in weights.items()}
    taken: set[str] = set()
    for node in graph:
        if node in network:
            scope = _network_scope(node, scopes)
        elif node.outputs[0] in owners:
            scope = f"weights.{owners[node.outputs[0]]}"
        else:
            scope = _generator_scope(node, scopes, destinations)
        node.name = _unique(f"{scope}/{node.op_type}", taken)
        for number, value in enumerate(node.outputs):
            scopes[value] = scope
            value.name = node.name if len(node.outputs) == 1 else f"{node.name}.{number}"
    for slot, value in weights.items():
        if value.producer() is not None:
            value.name = slot
    _name_constants(graph, set(stored.values()))


def _network_scope(node: ir.Node, scopes: dict[ir.Value, str]) -> str:
    if node.op_type in LAYER_TENSORS:
        return str(node.name).partition("/")[0]
    inputs = [scopes[value] for value in node.inputs if value in scopes and value is not None]
    if not inputs:
        return "preprocess"
    if node.op_type == "Add" and len(inputs) == 2:  # the residual sum belongs to the block
        branch = max(inputs, key=lambda scope: scope.count("."))
        return branch.rpartition(".")[0] or branch
    return "pool" if node.op_type in ("GlobalAveragePool", "Flatten") else inputs[0]


def _generator_scope(node: ir.Node, scopes: dict[ir.Value, str], destinations: dict[ir.Node, set[str]]) -> str:
    inputs = [scopes[value] for value in node.inputs if value in scopes and value is not None]
    hypernets = [scope for scope in inputs if scope.startswith("hypernet.")]
    split = any(value is not None and _is_split(value.producer()) for value in node.inputs)
    if hypernets and not split:
        return hypernets[0]
    slots = destinations.get(node, set())
    if len(slots) == 1:
        return f"weights.{next(iter(slots))}"
    return hypernets[0] if hypernets else "cond_id"


def _is_split(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "Split"


def _destinations(graph: ir.Graph, weights: dict[str, ir.Value]) -> dict[ir.Node, set[str]]:
    """For each node, the slots that it contributes to."""
    reached: dict[ir.Node, set[str]] = {}
    owners = {value: slot for slot, value in weights.items()}
    for node in reversed(graph):
        slots = {owners[value] for value in node.outputs if value in owners}
        if not slots:
            for user in (use.node for value in node.outputs for use in value.uses()):
                slots |= reached.get(user, set())
        reached[node] = slots
    return reached


def _name_constants(graph: ir.Graph, stored: set[ir.Value]) -> None:
    """Constants (shapes, axes) are named after their content, so that equal builds are equal."""
    taken: set[str] = set()
    for name in list(graph.initializers):
        value = graph.initializers[name]
        if value in stored or value.const_value is None:
            continue
        numbers = "x".join(str(number) for number in value.const_value.numpy().reshape(-1)[:6].tolist())
        value.name = _unique(f"constant/{numbers or 'no axes'}", taken)


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate
