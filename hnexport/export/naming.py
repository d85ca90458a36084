"""Names that show where a node belongs: the network's modules by their paths, the generator's parts by what they make.

A node is called `PATH/OPERATOR` and its value after it. In the network PATH is the module whose call made the node, as
the capture recorded it, for instance `group1.block1.conv1/Conv`. In the generator it is `hypernet.NAME` for what an
internal hypernetwork computes, `weights.SLOT` for what becomes one slot alone, and `cond_id` for what all share.
"""

import ast
from collections.abc import Container, Iterable, Sequence

import onnx_ir as ir

from hnexport.export.graphs import all_values
from hnexport.names import COND_ID
from hnexport.spec import StoredTensor

__all__ = ["NETWORK_SCOPE", "drop_metadata", "name_generator", "name_network", "unify_names"]

NETWORK_SCOPE = "network"
"""Of what the network computes outside of its submodules."""
_SCOPES = "pkg.torch.onnx.name_scopes"  # the exporter's: the modules' paths from the outermost, then the operator


def name_network(graph: ir.Graph, modules: Container[str]) -> None:
    """Name the nodes of the network half.

    Args:
        modules: the paths of the network's submodules.
    """
    scopes: dict[ir.Value, str] = {value: str(value.name).rpartition(".")[0] for value in graph.inputs}
    for node in graph.all_nodes():
        scope = _module(node, modules)
        if scope is None:  # a node that the optimiser made: it belongs to what it computes with
            scope = next((scopes[value] for value in node.inputs if value is not None and value in scopes), "")
        scopes |= dict.fromkeys(node.outputs, scope)
        node.name = f"{scope or NETWORK_SCOPE}/{node.op_type}"


def name_generator(graph: ir.Graph, stored: Iterable[StoredTensor]) -> None:
    """Name the nodes of the generator half."""
    hypernets = {item.name: f"hypernet.{item.hypernet}" for item in stored if item.hypernet is not None}
    scopes = {value: hypernets[str(value.name)] for value in graph.inputs if value.name in hypernets}
    reached = _destinations(graph)
    for node in graph:
        found = [scopes[value] for value in node.inputs if value is not None and value in scopes]
        slots = reached[node]
        made = f"weights.{next(iter(slots))}" if len(slots) == 1 else COND_ID
        is_slot = any(value.is_graph_output() for value in node.outputs)
        scope = made if is_slot or not found else found[0]
        if found and not is_slot and len(node.outputs) == 1:  # what is cut into pieces goes to slots from there
            scopes |= dict.fromkeys(node.outputs, found[0])
        node.name = f"{scope}/{node.op_type}"


def drop_metadata(model: ir.Model) -> None:
    """Remove what the exporter noted: it names this machine's folders."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    for value in all_values(model.graph):
        value.metadata_props.clear()
        value.doc_string = None


def unify_names(graph: ir.Graph, kept: Sequence[ir.Value]) -> None:
    """Let every node and value have a name of its own, a value that of its node, and a constant that of its content.

    Args:
        kept: values whose names stay: inputs, outputs, slots.
    """
    taken = {str(value.name) for value in kept}
    keeping, used = set(kept), set[str]()
    for node in graph.all_nodes():
        node.name = _unique(str(node.name), used)
        for number, value in enumerate(node.outputs):
            if value not in keeping:
                name = node.name if len(node.outputs) == 1 else f"{node.name}.{number}"
                value.name = _unique(name, taken)
    for inner in (graph, *graph.subgraphs()):
        for value in [value for value in inner.initializers.values() if value not in keeping]:
            numbers = [] if value.const_value is None else value.const_value.numpy().reshape(-1)[:6].tolist()
            value.name = _unique(f"constant/{'x'.join(map(str, numbers)) or 'no axes'}", taken)


def _module(node: ir.Node, modules: Container[str]) -> str | None:
    """The innermost module whose call made a node; empty for the network itself, None where nothing was recorded."""
    recorded = node.metadata_props.get(_SCOPES)
    if recorded is None:
        return None
    paths = ast.literal_eval(recorded)[:-1]
    return next((path for path in reversed(paths) if path in modules or path == ""), None)


def _destinations(graph: ir.Graph) -> dict[ir.Node, set[str]]:
    """For each node, the slots that it contributes to."""
    reached: dict[ir.Node, set[str]] = {}
    for node in reversed(graph):
        slots = {str(value.name) for value in node.outputs if value.is_graph_output()}
        for user in (use.node for value in node.outputs for use in value.uses()):
            slots |= reached.get(user, set())
        reached[node] = slots
    return reached


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate
