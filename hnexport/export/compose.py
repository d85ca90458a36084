"""Three graphs out of the two halves, joined at the slots' names; `hnexport.export.ensemble` makes the fourth.

Stored tensors are graph inputs until a writer attaches data. The guard, where a generator gives one, is one Add on each
floating-point output of the network; in `hypernet.onnx` it is added to what depends on the member instead.
"""

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from hnexport.errors import ExportError
from hnexport.export.capture import Capture
from hnexport.export.graphs import FLOATING, add_node, make_initializer, remove_unused, source
from hnexport.export.naming import drop_metadata, name_generator, name_network, unify_names
from hnexport.export.recurrent import keep_nan
from hnexport.export.rewrite import pool_globally, spell_out_norms
from hnexport.export.translate import generator_graph, network_graph
from hnexport.export.weights_file import empty, size_bytes
from hnexport.names import GUARD, SUPPLIED_FILE

__all__ = ["Halves", "compose_hypernet", "compose_model", "compose_network", "halves"]


@dataclass(frozen=True, kw_only=True)
class Halves:
    """The halves as graphs.

    Attributes:
        generator: `(cond_id, conditions, stored tensors) -> (slots, guard)`.
        network: `(inputs, slots) -> outputs`.
        conditions: how many the generator has beside the condition id.
        inputs: how many the network has beside the slots.
        slots: the ensemble's, without aliases, in their order.
    """

    name: str
    generator: ir.Model
    network: ir.Model
    conditions: int
    inputs: int
    slots: tuple[str, ...]


def halves(capture: Capture) -> Halves:
    """Translate both halves and name their nodes.

    Raises:
        CaptureError, ExportError: see `hnexport.export.translate`.
    """
    ensemble = capture.ensemble
    generator, network = generator_graph(capture), network_graph(capture)
    if generator.opset_imports != network.opset_imports:
        raise ExportError(
            f"the halves use other operator sets: {dict(generator.opset_imports)}, {dict(network.opset_imports)}"
        )
    pool_globally(network.graph)
    filled = {item.slot for item in ensemble.stored}
    keep_nan(network.graph, weights=any(slot.name not in filled for slot in ensemble.slots if slot.alias_of is None))
    name_generator(generator.graph, ensemble.stored)
    name_network(network.graph, {path for path, _ in ensemble.network.named_modules()})
    for model in (generator, network):
        drop_metadata(model)
    return Halves(
        name=ensemble.name,
        generator=generator,
        network=network,
        conditions=len(ensemble.signature.of_generator),
        inputs=len(ensemble.signature.of_network),
        slots=tuple(slot.name for slot in ensemble.slots if slot.alias_of is None),
    )


def compose_model(halves: Halves) -> ir.Model:
    """`(cond_id, conditions, inputs, stored tensors) -> outputs`; floating outputs are NaN where there is no member."""
    model, below = halves.generator.clone(), halves.network.clone()
    graph, network = model.graph, below.graph
    graph.name = halves.name
    given = {str(value.name): source(value) for value in graph.outputs}
    inputs, outputs, nodes = list(network.inputs), list(network.outputs), list(network)
    constants = list(network.initializers.values())
    for value in inputs[halves.inputs :]:
        value.replace_all_uses_with(given[str(value.name)])
    for container in (network.inputs, network.outputs, network.initializers):
        container.clear()
    network.remove(nodes)
    slots = [value for value in graph.outputs if value.name != GUARD]
    _adopt_constants(graph, constants)
    graph.extend(nodes)
    model.functions.update(below.functions)
    first = 1 + halves.conditions
    graph.inputs[first:first] = inputs[: halves.inputs]
    graph.outputs[:] = [_guarded(graph, value, given.get(GUARD)) for value in outputs]
    spell_out_norms(graph)
    remove_unused(model, first + halves.inputs)
    unify_names(graph, [*graph.inputs, *graph.outputs, *slots])
    return model


def compose_hypernet(halves: Halves) -> ir.Model:
    """`(cond_id, conditions, stored tensors) -> slots`; what depends on the member is NaN where it does not exist."""
    model = halves.generator.clone()
    graph = model.graph
    graph.name = f"{halves.name}-hypernet"
    values = {str(value.name): value for value in graph.outputs}
    guard, slots = values.get(GUARD), [values[slot] for slot in halves.slots]
    given = {str(value.name) for value in graph.inputs[: 1 + halves.conditions]}
    graph.outputs[:] = [value if _is_stored(value, given) else _guarded(graph, value, guard) for value in slots]
    remove_unused(model, 1 + halves.conditions)
    unify_names(graph, [*graph.inputs, *graph.outputs])
    return model


def compose_network(halves: Halves) -> tuple[ir.Model, tuple[str, ...]]:
    """`(inputs, shared tensors) -> outputs`, and the slots that its loader supplies: one after the other in a file.

    Those with larger elements come first, so that each lies at a multiple of its own element's size.
    """
    model, offset = halves.network.clone(), 0
    graph = model.graph
    graph.name = f"{halves.name}-network"
    generated = halves.generator.graph
    given = {str(value.name) for value in generated.inputs[: 1 + halves.conditions]}
    sources = {str(value.name): source(value) for value in generated.outputs}
    found = {str(value.name): value for value in graph.inputs[halves.inputs :]}
    shared: dict[str, ir.Value] = {}
    for slot in [slot for slot in found if _is_stored(sources[slot], given)]:
        value, name = found.pop(slot), str(sources[slot].name)
        if shared.setdefault(name, value) is value:
            value.name = name
        else:
            value.replace_all_uses_with(shared[name], replace_graph_outputs=True)
            graph.inputs.remove(value)
    order = sorted(
        (slot for slot in halves.slots if slot in found), key=lambda slot: -float(_dtype(found[slot]).itemsize)
    )
    supplied = []
    for slot in order:
        value = found[slot]
        if value.shape is None or not value.shape.is_static():
            raise ExportError(f"{slot}: its shape is not known")
        shape = ir.Shape(value.shape.numpy())
        length = size_bytes(_dtype(value), shape.numpy())
        if not length:
            make_initializer(graph, graph, value, empty(_dtype(value), shape.numpy(), slot))
            continue
        reference = ir.ExternalTensor(SUPPLIED_FILE, offset, length, _dtype(value), shape=shape, name=slot)
        make_initializer(graph, graph, value, reference)
        supplied.append(slot)
        offset += length
    remove_unused(model, halves.inputs)
    unify_names(graph, [*graph.inputs, *graph.outputs, *found.values()])
    return model, tuple(supplied)


def _is_stored(value: ir.Value, given: Collection[str]) -> bool:
    """Whether a slot is a stored tensor as it is, the same for all members, and none of the generator's own inputs."""
    origin = source(value)
    return origin.producer() is None and origin.name not in given


def _dtype(value: ir.Value) -> ir.DataType:
    if value.dtype is None:
        raise ExportError(f"{value.name}: its dtype is not known")
    return value.dtype


def _guarded(graph: ir.Graph, value: ir.Value, guard: ir.Value | None) -> ir.Value:
    """`value + guard` in the place of `value`; what is not floating-point has no NaN and stays."""
    if guard is None or value.dtype not in FLOATING:
        return value
    name, value.name = str(value.name), f"{value.name}/unguarded"
    if value.dtype is not guard.dtype:
        cast = ir.Value(shape=guard.shape, type=value.type)
        guard = add_node(graph, "Cast", [guard], like=cast, name=f"{GUARD}/Cast", to=int(value.dtype))
    if value.shape is not None and len(value.shape) == 0:
        guard = add_node(graph, "Squeeze", [guard], like=value, name=f"{GUARD}/Squeeze")
    guarded = add_node(graph, "Add", [value, guard], like=value, name=f"{GUARD}/Add")
    guarded.name = name
    return guarded


def _adopt_constants(graph: ir.Graph, constants: list[ir.Value]) -> None:
    for number, value in enumerate(constants):
        value.name = f"network/constant/{number}"
        graph.initializers[value.name] = value
