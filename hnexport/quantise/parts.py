"""`network.onnx` in two: what depends on a network's inputs, and what only a member's weights decide.

Whatever is done to weights (a batch norm that goes into its convolution, a transposition, rounding to int8) belongs to
the second part, the maker: a graph from a member's slots to the parameters of the first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import embed_tensors, read_model
from hnexport.bundle.onnx_tensors import is_external
from hnexport.errors import BundleError
from hnexport.names import NETWORK_FILE
from hnexport.parity.trace.onnx_graph import dependent, keep_ancestors, open_values, reads
from hnexport.quantise.counting import drop_counting
from hnexport.quantise.initializers import constant
from hnexport.quantise.norms import fold_norms

__all__ = ["Parts", "split"]

Array = NDArray[np.generic]


@dataclass(kw_only=True)
class Parts:
    """The two parts of a network.

    Attributes:
        network: the nodes that depend on its inputs. It has no initializers for `parameters`.
        maker: from slots, its inputs, to `parameters`, its outputs.
        parameters: what the maker gives the network, in order.
        slots: of a parameter the largest of the slots that it is made of: of a kernel, the slot of its weights.
        norms: of the kernels of batch norms that are convolutions the weight of the norm.
    """

    network: onnx.ModelProto = field(repr=False)
    maker: onnx.ModelProto = field(repr=False)
    parameters: list[str]
    slots: dict[str, str]
    norms: dict[str, str]


def split(bundle: Path, manifest: Manifest) -> Parts:
    """The parts of a bundle's `network.onnx`, without batch norms: they go into convolutions, become some, or factors.

    Raises:
        BundleError: the bundle holds no ONNX files, or damaged ones.
    """
    if manifest.onnx is None:
        raise BundleError(f"{bundle} holds no ONNX files: build it with the format onnx")
    path, supplied = bundle / NETWORK_FILE, list(manifest.onnx.supplied)
    model = read_model(path)
    shapes = {slot.name: slot for slot in manifest.slots}
    embed_tensors(model, path, manifest.files)
    drop_counting(model, path, manifest.signature)
    nodes, reached = dependent(model, [item.name for item in model.graph.input])
    kept = {id(node) for node in nodes}
    fixed = [node for node in model.graph.node if id(node) not in kept]
    network, maker = onnx.ModelProto(), onnx.ModelProto()
    for part, own in ((network, nodes), (maker, fixed)):
        part.CopyFrom(model)
        del part.graph.node[:], part.graph.value_info[:]
        part.graph.node.extend(own)
    del maker.graph.input[:], maker.graph.output[:]
    for name in supplied:
        slot = shapes[name]
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(slot.dtype))
        maker.graph.input.append(helper.make_tensor_value_info(name, dtype, slot.shape))
    for item in model.graph.output:
        if item.name not in reached:  # a regularizer, say
            maker.graph.node.append(helper.make_node("Identity", [item.name], [f"{item.name}/fixed"]))
            network.graph.node.append(helper.make_node("Identity", [f"{item.name}/fixed"], [item.name]))
    _drop_initializers(maker.graph, lambda tensor: is_external(tensor))
    axes = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    norms = fold_norms(network, maker, reached, axes)
    return _parted(network, maker, path, supplied, norms)


def _parted(
    network: onnx.ModelProto, maker: onnx.ModelProto, path: Path, supplied: list[str], norms: dict[str, str]
) -> Parts:
    """What the network reads of the maker becomes a parameter where a member decides it, otherwise a constant."""
    made = {name for node in network.graph.node for name in node.output}
    made |= {item.name for item in network.graph.input}
    wanted = [name for node in network.graph.node for name in reads(node) if name not in made]
    wanted = list(dict.fromkeys(wanted))
    _, of_member = dependent(maker, supplied)
    parameters = [name for name in wanted if name in of_member]
    held = {tensor.name for tensor in maker.graph.initializer}
    computed = [name for name in wanted if name not in of_member and name not in held]
    _drop_initializers(network.graph, lambda tensor: tensor.name not in wanted or tensor.name in of_member)
    if computed:
        part = onnx.ModelProto()
        part.CopyFrom(maker)
        keep_ancestors(part, computed)
        values = open_values(part, path, computed, optimise=False).run(computed, {})
        for name, value in zip(computed, values, strict=True):
            constant(network.graph, name, value)
    maker.graph.output.extend(onnx.ValueInfoProto(name=name) for name in parameters)
    slots = {name: _largest_slot(maker, name, supplied) for name in parameters}
    return Parts(
        network=network,
        maker=maker,
        parameters=parameters,
        slots={name: slot for name, slot in slots.items() if slot},
        norms=norms,
    )


def _largest_slot(maker: onnx.ModelProto, parameter: str, supplied: list[str]) -> str:
    """The slot with the most numbers among those that a parameter is made of; "" where it is made of none."""
    producers = {name: node for node in maker.graph.node for name in node.output}
    sizes = {item.name: np.prod([d.dim_value for d in item.type.tensor_type.shape.dim]) for item in maker.graph.input}
    needed, pending = {parameter}, [parameter]
    while pending:
        node = producers.get(pending.pop())
        fresh = [name for name in reads(node) if name not in needed] if node is not None else []
        needed.update(fresh)
        pending += fresh
    found = [name for name in supplied if name in needed]
    return max(found, key=lambda name: sizes[name]) if found else ""


def _drop_initializers(graph: onnx.GraphProto, drop: Callable[[onnx.TensorProto], bool]) -> None:
    left = [tensor for tensor in graph.initializer if not drop(tensor)]
    del graph.initializer[:]
    graph.initializer.extend(left)
