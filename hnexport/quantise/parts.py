"""`network.onnx` in two: what depends on a network's inputs, and what only a member's weights decide.

Whatever is done to weights (a batch norm that goes into its convolution, a transposition, rounding to int8) belongs to
the second part, the maker: a graph from a member's slots to the parameters of the first.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import embed_tensors, read_model
from hnexport.bundle.onnx_tensors import is_external
from hnexport.errors import BundleError
from hnexport.names import NETWORK_FILE
from hnexport.parity.trace.onnx_graph import dependent, keep_ancestors, open_values, reads
from hnexport.quantise.counting import drop_counting

__all__ = ["Parts", "constant", "split"]

Array = NDArray[np.generic]


@dataclass(kw_only=True)
class Parts:
    """The two parts of a network.

    Attributes:
        network: the nodes that depend on its inputs. It has no initializers for `parameters`.
        maker: from slots, its inputs, to `parameters`, its outputs.
        parameters: what the maker gives the network, in order.
        slots: of a parameter the slot that it is made of, where it is one alone.
    """

    network: onnx.ModelProto = field(repr=False)
    maker: onnx.ModelProto = field(repr=False)
    parameters: list[str]
    slots: dict[str, str]


def split(bundle: Path, manifest: Manifest) -> Parts:
    """The parts of a bundle's `network.onnx`, with batch norms folded into the convolutions before them.

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
    _drop_initializers(maker.graph, lambda tensor: is_external(tensor))
    _fold_norms(network, maker, reached, {tensor.name: len(tensor.dims) for tensor in model.graph.initializer})
    return _parted(network, maker, path, supplied)


def constant(graph: onnx.GraphProto, name: str, value: ArrayLike) -> str:
    """An initializer of that name; its name."""
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
    return name


def _parted(network: onnx.ModelProto, maker: onnx.ModelProto, path: Path, supplied: list[str]) -> Parts:
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
    slots = {name: _only_slot(maker, name, supplied) for name in parameters}
    return Parts(
        network=network,
        maker=maker,
        parameters=parameters,
        slots={name: slot for name, slot in slots.items() if slot},
    )


def _only_slot(maker: onnx.ModelProto, parameter: str, supplied: list[str]) -> str:
    """The slot with the most numbers among those that a parameter is made of: its kernel."""
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


def _drop_initializers(graph: onnx.GraphProto, drop) -> None:  # type: ignore[no-untyped-def]
    left = [tensor for tensor in graph.initializer if not drop(tensor)]
    del graph.initializer[:]
    graph.initializer.extend(left)


def _fold_norms(network: onnx.ModelProto, maker: onnx.ModelProto, reached: set[str], axes: Mapping[str, int]) -> None:
    """Put a batch norm that alone reads a convolution into that convolution's kernel and bias.

    Args:
        axes: how many axes a kernel has, by its name.
    """
    graph = network.graph
    uses = Counter(name for node in graph.node for name in reads(node))
    uses.update(item.name for item in graph.output)
    makers = {node.output[0]: node for node in graph.node}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        training = any(item.name == "training_mode" and item.i for item in norm.attribute)
        if conv is None or conv.op_type != "Conv" or uses[norm.input[0]] != 1 or training:
            continue
        if conv.input[1] not in axes or reached.intersection((*conv.input[1:], *norm.input[1:])):
            continue
        epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
        column = constant(
            maker.graph, f"{norm.output[0]}/axes", np.array([-1] + [1] * (axes[conv.input[1]] - 1), np.int64)
        )
        names = _folded(maker.graph, norm.output[0], conv.input[1:], norm.input[1:], epsilon, column)
        conv.input[1:] = names
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)


def _folded(
    graph: onnx.GraphProto, name: str, conv: object, norm: object, epsilon: float, column: str
) -> tuple[str, str]:
    """Kernel and bias of a convolution with the batch norm behind it."""
    kernel, *biases = list(conv)  # type: ignore[call-overload]
    gamma, beta, mean, variance = list(norm)  # type: ignore[call-overload]
    place = {
        part: f"{name}/{part}" for part in ("wide", "std", "factor", "column", "kernel", "shifted", "scaled", "bias")
    }
    eps = constant(graph, f"{name}/epsilon", np.float32(epsilon))
    nodes = [
        helper.make_node("Add", [variance, eps], [place["wide"]]),
        helper.make_node("Sqrt", [place["wide"]], [place["std"]]),
        helper.make_node("Div", [gamma, place["std"]], [place["factor"]]),
        helper.make_node("Reshape", [place["factor"], column], [place["column"]]),
        helper.make_node("Mul", [kernel, place["column"]], [place["kernel"]]),
    ]
    if biases:
        nodes.append(helper.make_node("Sub", [biases[0], mean], [place["shifted"]]))
    else:
        nodes.append(helper.make_node("Neg", [mean], [place["shifted"]]))
    nodes.append(helper.make_node("Mul", [place["shifted"], place["factor"]], [place["scaled"]]))
    nodes.append(helper.make_node("Add", [place["scaled"], beta], [place["bias"]]))
    graph.node.extend(nodes)
    return place["kernel"], place["bias"]
