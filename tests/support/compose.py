"""Writes the ONNX files of two halves: a stand-in for `hnexport.export`, until that takes any ensemble."""

# ruff: noqa: E501

import contextlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

GUARD = "cond_id/guard"  # the generator's further output: float32 [1], 0 where the member exists, else NaN
WEIGHTS, SUPPLIED, ALIGNMENT_BYTES = "weights.bin", "member.bin", 4096
INLINE_BYTES = (
    2**16
)  # shared tensors up to this size are copied into ensemble.onnx's loop: onnxruntime fuses those alone
FLOATING = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}


@dataclass(frozen=True, kw_only=True)
class Network:
    """`model` is `(inputs, slots) -> outputs`; `slots` are those that it uses, `aliases` the tied slots' other names."""

    program: ExportedProgram
    model: ir.Model
    inputs: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, Dim]]
    slots: tuple[str, ...]
    outputs: tuple[str, ...]
    aliases: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Generator:
    """`model` is `(cond_id, stored tensors) -> (slots, guard)`; without a guard its weights are NaN by themselves."""

    module: nn.Module
    model: ir.Model
    stored: Mapping[str, Tensor]


def slots_of(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer under each of its names; buffers outside the state dict are among them."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


# The halves


def export_network(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    dynamic: Mapping[str, Mapping[int, Dim]],
    outputs: Sequence[str] | None = None,
) -> Network:
    """Export a module in evaluation mode; `inputs` and `dynamic` by the names of its forward, the batch at least 2."""
    program = torch.export.export(module, (), dict(inputs), dynamic_shapes=open_shapes(inputs, dynamic))
    if any(part.training for part in module.modules()):
        raise ValueError("the module is in training mode: call eval()")
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(tensor), name) for name, tensor in slots_of(module).items()}
    aliases = {name: slot for name, slot in names.items() if name != slot}
    with torch.no_grad():
        outputs = tuple(outputs or _leaf_names(module(**inputs)))
    model = _to_onnx(program, outputs, aliases)
    _name_dimensions(model, program, dynamic)
    slots = tuple(str(value.name) for value in model.graph.inputs[len(inputs) :])
    every = ["cond_id", "cond_ids", *inputs, *slots, *outputs]
    if len(set(every)) < len(every):
        raise ValueError(f"names that are there twice: {sorted({name for name in every if every.count(name) > 1})}")
    return Network(
        program=program,
        model=model,
        inputs=dict(inputs),
        dynamic=dynamic,
        slots=slots,
        outputs=outputs,
        aliases=aliases,
    )


def export_generator(module: nn.Module) -> Generator:
    """Export `cond_id -> {slot: tensor}`, cond_id an int64 scalar."""
    program = torch.export.export(module, (torch.tensor(0),))
    with torch.no_grad():
        model = _to_onnx(program, _leaf_names(module(torch.tensor(0))), {})
    return Generator(module=module, model=model, stored=slots_of(module))


def _to_onnx(program: ExportedProgram, outputs: Sequence[str], aliases: Mapping[str, str]) -> ir.Model:
    """Translate a program, turn its parameters and buffers from initializers into inputs, and only then optimise it."""
    with contextlib.redirect_stdout(io.StringIO()):
        exported = torch.onnx.export(program, optimize=False, verbose=False)
    graph, specs = exported.model.graph, program.graph_signature.input_specs
    freed: dict[str, ir.Value] = {}
    for spec in specs:  # what is not used is gone, and of a tied slot's names one is left, not always the first
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and spec.target in graph.initializers:
            value, name = graph.initializers.pop(spec.target), aliases.get(spec.target, spec.target)
            value.const_value = None
            if freed.setdefault(name, value) is value:
                graph.inputs.append(value)
            else:
                value.replace_all_uses_with(freed[name], replace_graph_outputs=True)
    exported.optimize()
    model = exported.model
    passes.ClearMetadataAndDocStringPass()(model)
    for position, name in enumerate(outputs):
        value = model.graph.outputs[position]
        if value.producer() is None or value in model.graph.outputs[:position]:  # an input, or returned twice
            value = model.graph.outputs[position] = _append(model.graph, "Identity", [value], value.shape, value.dtype)
        value.name = name
    names = [spec.arg.name for spec in specs if spec.kind is InputKind.USER_INPUT]
    for value, name in zip(tuple(model.graph.inputs), [*names, *freed], strict=True):
        value.name = name  # only now: the optimiser renames inputs that are also outputs
        if name in freed and not value.uses():
            model.graph.inputs.remove(value)
    return model


def _name_dimensions(model: ir.Model, program: ExportedProgram, dynamic: Mapping[str, Mapping[int, Dim]]) -> None:
    """Call symbols by their Dim's name in every shape: the exporter writes `s52` in value_info, and `12*s52`."""
    given = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    names = {str(given[name].shape[axis]): dim.__name__ for name, axes in dynamic.items() for axis, dim in axes.items()}
    for value in _values(model.graph):
        dims = [] if value.shape is None else [getattr(dim, "value", dim) for dim in value.shape]
        if any(isinstance(dim, str) for dim in dims):
            named = [re.sub(r"\w+", lambda m: names.get(m[0], m[0]), d) if isinstance(d, str) else d for d in dims]
            value.shape = ir.Shape(named)


# Composing


def compose_model(generator: Generator, network: Network) -> ir.Model:
    """`(cond_id, inputs, stored tensors) -> outputs`; floating outputs are NaN where the member does not exist."""
    model, below = _copy(generator.model, "generator"), _copy(network.model, "network")
    computed = {str(value.name): _source(value) for value in model.graph.outputs}
    inputs, outputs, nodes = list(below.graph.inputs), list(below.graph.outputs), list(below.graph)
    for value in inputs[len(network.inputs) :]:
        value.replace_all_uses_with(computed[str(value.name)])
    constants = dict(below.graph.initializers)
    for container in (below.graph.inputs, below.graph.outputs, below.graph.initializers):
        container.clear()
    below.graph.remove(nodes)
    model.graph.extend(nodes)
    model.graph.initializers.update(constants)
    model.graph.inputs[1:1] = inputs[: len(network.inputs)]
    model.graph.outputs[:] = [_guarded(model.graph, value, computed.get(GUARD)) for value in outputs]
    return _without_unused(model)


def compose_hypernet(generator: Generator, network: Network) -> ir.Model:
    """`(cond_id, stored tensors) -> slots`; what depends on the member is NaN where it does not exist."""
    model = _copy(generator.model, "generator")
    values = {str(value.name): value for value in model.graph.outputs}
    guard, slots = values.get(GUARD), [values[slot] for slot in network.slots]
    stored = [_source(value).producer() is None for value in slots]
    model.graph.outputs[:] = [v if s else _guarded(model.graph, v, guard) for v, s in zip(slots, stored, strict=True)]
    return _without_unused(model)


def compose_network(generator: Generator, network: Network) -> tuple[ir.Model, tuple[str, ...]]:
    """`(inputs, shared tensors) -> outputs`, and the slots that its loader supplies: one after the other in a file."""
    model, supplied, offset = _copy(network.model, "network"), [], 0
    sources = {str(value.name): _source(value) for value in generator.model.graph.outputs}
    for value in tuple(model.graph.inputs[len(network.inputs) :]):
        slot, source = str(value.name), sources[str(value.name)]
        if source.producer() is None:
            value.name = source.name
            continue
        length = math.ceil(value.dtype.itemsize * math.prod(value.shape))
        reference = ir.ExternalTensor(SUPPLIED, offset, length, value.dtype, shape=value.shape, name=slot)
        _make_initializer(model.graph, model.graph, value, reference)
        supplied.append(slot)
        offset += length
    return model, tuple(supplied)


def compose_ensemble(model: ir.Model) -> ir.Model:
    """`(cond_ids, inputs, stored tensors) -> outputs [member, …]`: compose_model's graph in a Loop."""
    model = model.clone()
    graph, outputs, nodes = model.graph, list(model.graph.outputs), list(model.graph)
    int64, boolean, scalar = ir.TensorType(ir.DataType.INT64), ir.TensorType(ir.DataType.BOOL), ir.Shape([])
    cond_ids = ir.Value(name="cond_ids", type=int64, shape=ir.Shape(["member"]))
    step, go_on, going_on, always = (
        ir.Value(name=f"loop/{name}", type=boolean if number else int64, shape=scalar)
        for number, name in enumerate(("step", "go_on", "going_on", "always"))
    )
    stacked = [ir.Value(name=v.name, type=v.type, shape=ir.Shape(["member", *v.shape])) for v in outputs]
    graph.outputs.clear()
    graph.remove(nodes)
    pick = ir.node("Gather", [cond_ids, step], {"axis": 0}, outputs=[graph.inputs[0]], name="loop/Gather")
    keep = ir.node("Identity", [go_on], outputs=[going_on], name="loop/Identity")
    for value in outputs:
        value.name = f"loop/{value.name}"
    body = ir.Graph([step, go_on], [going_on, *outputs], nodes=[pick, keep, *nodes], name="member")
    graph.inputs[0] = cond_ids
    always.const_value, graph.initializers["loop/always"] = ir.tensor(True, name="loop/always"), always
    count = _append(graph, "Size", [cond_ids], scalar, ir.DataType.INT64)
    count.name = "loop/count"
    graph.append(ir.node("Loop", [count, always], {"body": body}, outputs=stacked, name="loop/Loop"))
    graph.outputs.extend(stacked)
    return model


def _guarded(graph: ir.Graph, value: ir.Value, guard: ir.Value | None) -> ir.Value:
    """`value + guard` in the place of `value`; what is not floating has no NaN and stays."""
    if guard is None or value.dtype not in FLOATING:
        return value
    name, value.name = value.name, f"{value.name}/unguarded"
    if value.dtype is not ir.DataType.FLOAT:
        guard = _append(graph, "Cast", [guard], guard.shape, value.dtype, to=int(value.dtype))
    if len(value.shape) == 0:
        guard = _append(graph, "Squeeze", [guard], value.shape, value.dtype)
    guarded = _append(graph, "Add", [value, guard], value.shape, value.dtype)
    guarded.name = name
    return guarded


# Files


def write_onnx(generator: Generator, network: Network, folder: Path) -> tuple[str, ...]:
    """Write the four ONNX files and the weights; returns the slots that the loader of network.onnx supplies."""
    references = _write_weights(folder, generator)
    model, (alone, supplied) = compose_model(generator, network), compose_network(generator, network)
    shared = {value.name for value in alone.graph.inputs[len(network.inputs) :]}
    hypernet, ensemble = compose_hypernet(generator, network), compose_ensemble(model)
    for name, each in {"model": model, "ensemble": ensemble, "hypernet": hypernet, "network": alone}.items():
        for value in [value for value in each.graph.inputs if value.name in references]:
            reference, owner = references[str(value.name)], each.graph
            if each is ensemble and value.name in shared and reference.nbytes <= INLINE_BYTES:
                owner = ensemble.graph[-1].attributes["body"].as_graph()
                reference = ir.Tensor(reference.numpy().copy(), name=value.name)
            _make_initializer(each.graph, owner, value, reference)
        path = folder / f"{name}.onnx"
        path.write_bytes(ir.serde.serialize_model(each).SerializeToString(deterministic=True))
        if each is not alone or not supplied:  # the checker insists on external files that exist
            onnx.checker.check_model(path, full_check=True)
    return supplied


def _write_weights(folder: Path, generator: Generator) -> dict[str, ir.ExternalTensor]:
    references = {}
    with (folder / WEIGHTS).open("wb") as file:
        for value in generator.model.graph.inputs[1:]:
            name, start = str(value.name), file.seek(-(-file.tell() // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
            length, base = file.write(_bits(generator.stored[name]).numpy().data), {"base_dir": folder}
            references[name] = ir.ExternalTensor(
                WEIGHTS, start, length, value.dtype, shape=value.shape, name=name, **base
            )
    return references


# Small things


def open_shapes(inputs: Mapping[str, Tensor], dynamic: Mapping[str, Mapping[int, Dim]]) -> dict[str, Any]:
    return {name: dict(dynamic.get(name, {})) or None for name in inputs}


def _leaf_names(outputs: Any) -> tuple[str, ...]:
    """Dict keys and positions of the tensors in a module's outputs, in the exporter's order: `kind`, `output0`, `a.1`."""
    leaves = [path for path, leaf in pytree.tree_flatten_with_path(outputs)[0] if leaf is not None]
    names = [".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path) for path in leaves]
    return tuple(name if name and not name[0].isdigit() else f"output{name}" for name in names)


def _append(
    graph: ir.Graph, op_type: str, inputs: list[ir.Value], shape: Any, dtype: Any, **attributes: Any
) -> ir.Value:
    node = ir.node(op_type, inputs, attributes)
    graph.append(node)
    output = node.outputs[0]
    output.shape, output.type = shape, ir.TensorType(dtype)
    return output


def _make_initializer(graph: ir.Graph, owner: ir.Graph, value: ir.Value, tensor: Any) -> None:
    graph.inputs.remove(value)
    value.const_value = tensor
    owner.initializers[str(value.name)] = value


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [
        *graph.inputs,
        *graph.initializers.values(),
        *(value for node in graph.all_nodes() for value in node.outputs),
    ]


def _copy(model: ir.Model, prefix: str) -> ir.Model:
    """A clone in which all but inputs and outputs is called `prefix/…`: two halves share a graph without a clash."""
    model = model.clone()
    for named in [*_values(model.graph), *model.graph.all_nodes()]:
        if isinstance(named, ir.Node) or not (named.is_graph_input() or named.is_graph_output()):
            named.name = f"{prefix}/{named.name}"
    return model


def _without_unused(model: ir.Model) -> ir.Model:
    passes.RemoveUnusedNodesPass()(model)
    passes.IdentityEliminationPass()(model)
    for value in [value for value in model.graph.inputs[1:] if not value.uses() and not value.is_graph_output()]:
        model.graph.inputs.remove(value)
    return model


def _source(value: ir.Value) -> ir.Value:
    """What is behind Identity nodes; a stored tensor has no producer."""
    node = value.producer()
    return value if node is None or node.op_type != "Identity" else _source(node.inputs[0])


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
