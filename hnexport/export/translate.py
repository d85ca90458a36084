"""From a captured half to an ONNX graph with named inputs and outputs.

Slots and stored tensors are graph inputs while the exporter's optimiser runs, so that it can neither fold nor merge
them: two tensors that happen to be equal (batch-norm shifts and means of a fresh network, say) stay two.
"""

import contextlib
import io
import logging
import re
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError, ExportError
from hnexport.export.attention import TRANSLATIONS as ATTENTION
from hnexport.export.capture import Capture, Half
from hnexport.export.graphs import add_node, adopt_strays, all_values
from hnexport.export.squeezes import TRANSLATIONS as SQUEEZES
from hnexport.programs.tracing import exporters_warnings
from hnexport.spec import TensorSpec

__all__ = ["generator_graph", "network_graph"]


def generator_graph(capture: Capture) -> ir.Model:
    """`(cond_id, conditions, stored tensors) -> (slots, guard)`; the stored tensors are those that are used.

    Raises:
        ExportError: the exporter failed, or slots are missing.
    """
    ensemble = capture.ensemble
    model = _translate(f"the generator of {ensemble.name}", capture.generator, {})
    given = set(capture.generator.outputs)
    missing = next((slot.name for slot in ensemble.slots if slot.alias_of is None and slot.name not in given), None)
    if missing is not None:
        raise ExportError(f"the generator of {ensemble.name} gives no tensor for the slot {missing}")
    return model


def network_graph(capture: Capture) -> ir.Model:
    """`(inputs, slots) -> outputs`; the slots are those that are used, aliases under the name of what they are tied to.

    Raises:
        ExportError: the exporter failed.
        CaptureError: the network has other inputs, outputs or slots than the ensemble says, or an axis of any size got
            a fixed one.
    """
    ensemble = capture.ensemble
    aliases = {slot.name: slot.alias_of for slot in ensemble.slots if slot.alias_of is not None}
    model = _translate(f"the network of {ensemble.name}", capture.network, aliases)
    _name_axes(ensemble, capture.network.program, model)
    _check_network(ensemble, model)
    return model


def _translate(what: str, half: Half, aliases: Mapping[str, str]) -> ir.Model:
    """Free parameters and buffers from their data, and only then optimise."""
    try:
        _quieten_exporter()
        with exporters_warnings(), contextlib.redirect_stdout(io.StringIO()):
            exported = torch.onnx.export(
                half.program,
                optimize=False,
                verbose=False,
                custom_translation_table={**ATTENTION, **SQUEEZES},
            )
            if exported is None:
                raise ExportError("torch.onnx.export returned nothing")
            freed = _free_tensors(exported.model.graph, half.program, aliases)
            exported.optimize()
            adopt_strays(exported.model.graph)
    except Exception as error:
        raise ExportError(f"ONNX export of {what} failed: {error}") from error
    model: ir.Model = exported.model
    model.metadata_props.clear()
    _name_outputs(what, model.graph, half.outputs)
    specs = half.program.graph_signature.input_specs
    given = [spec.arg.name for spec in specs if spec.kind is InputKind.USER_INPUT]
    for value, name in zip(tuple(model.graph.inputs), [*given, *freed], strict=True):
        value.name = name  # only now: the optimiser renames inputs that are also outputs
        if name in freed and not value.uses():
            model.graph.inputs.remove(value)
    return model


def _quieten_exporter() -> None:
    """The exporter warns once for each torchvision operator that it could have registered."""
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


def _free_tensors(graph: ir.Graph, program: ExportedProgram, aliases: Mapping[str, str]) -> list[str]:
    """Turn parameters and buffers from initializers with data into inputs; returns their names in order."""
    freed: dict[str, ir.Value] = {}
    for spec in program.graph_signature.input_specs:
        # What is not used is gone, and of a tied slot's names one is left, not always the first.
        if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER) or spec.target not in graph.initializers:
            continue
        value, name = graph.initializers.pop(spec.target), aliases.get(spec.target, spec.target)
        value.const_value = None
        if freed.setdefault(name, value) is value:
            graph.inputs.append(value)
        else:
            value.replace_all_uses_with(freed[name], replace_graph_outputs=True)
    return list(freed)


def _name_outputs(what: str, graph: ir.Graph, names: tuple[str, ...]) -> None:
    if len(graph.outputs) != len(names):
        raise ExportError(f"{what} has {len(graph.outputs)} output tensors, expected {len(names)}: {', '.join(names)}")
    for position, name in enumerate(names):
        value = graph.outputs[position]
        if value.producer() is None or value in graph.outputs[:position]:  # an input or a constant, or returned twice
            value = graph.outputs[position] = add_node(graph, "Identity", [value], like=value)
        value.name = name


def _name_axes(ensemble: Ensemble, program: ExportedProgram, model: ir.Model) -> None:
    """Call each axis of any size by the name that was declared for it, in every shape: the exporter writes `s52`."""
    given = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    names = {str(given[name].shape[axis]): dim for name, axes in ensemble.dynamic.items() for axis, dim in axes.items()}
    for value in all_values(model.graph):
        sizes = [] if value.shape is None else [getattr(size, "value", size) for size in value.shape]
        if any(isinstance(size, str) for size in sizes):
            value.shape = ir.Shape(
                [re.sub(r"\w+", lambda m: names.get(m[0], m[0]), s) if isinstance(s, str) else s for s in sizes]
            )


def _check_network(ensemble: Ensemble, model: ir.Model) -> None:
    signature, graph = ensemble.signature, model.graph
    count = len(signature.of_network)
    for item, value in zip(signature.of_network, graph.inputs[:count], strict=True):
        _check_tensor("input", item, value, exact=True)
    for output, value in zip(signature.outputs, graph.outputs, strict=True):
        _check_tensor("output", output, value, exact=False)
        value.shape = ir.Shape(list(output.shape))
    slots = {slot.name for slot in ensemble.slots}
    unknown = next((value.name for value in graph.inputs[count:] if value.name not in slots), None)
    if unknown is not None:
        raise CaptureError(f"the network of {ensemble.name} uses {unknown}, which is none of the ensemble's slots")


def _check_tensor(what: str, item: TensorSpec, value: ir.Value, *, exact: bool) -> None:
    """Compare name, dtype and shape; without `exact`, an axis of any size in the signature stands for any size."""
    sizes = [] if value.shape is None else [getattr(size, "value", size) for size in value.shape]
    fits = len(sizes) == len(item.shape) and all(
        size == found or (isinstance(size, str) and not exact) for size, found in zip(item.shape, sizes, strict=True)
    )
    if value.name != item.name or value.dtype is not ir.DataType.from_numpy(np.dtype(item.dtype)) or not fits:
        dtype = "nothing" if value.dtype is None else value.dtype.name.lower()
        raise CaptureError(
            f"{what} {item.name}: the signature says {item.dtype} {list(item.shape)}, the captured network has "
            f"{value.name}: {dtype} {sizes}"
        )
