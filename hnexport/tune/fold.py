"""The folded graphs: a generator of kernels in onnxruntime's blocked format, and the main network that takes them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import read_model
from hnexport.bundle.onnx_tensors import tensor_values
from hnexport.errors import TuneError
from hnexport.export.external_data import DataFile, refer
from hnexport.hypernet.plan import InternalHypernet
from hnexport.hypernet.quantised import dequantised
from hnexport.names import GUARD, HYPERNET_FILE, NETWORK_FILE
from hnexport.parity.trace.onnx_graph import reads
from hnexport.runtime.tuned import FOLDED_HYPERNET_FILE, FOLDED_NETWORK_FILE, FOLDED_WEIGHTS_FILE
from hnexport.spec.bases import scales_name
from hnexport.tune.blocked import BlockedNetwork, blocked_network, chunk_order
from hnexport.tune.foldable import foldable

__all__ = ["write_folded"]

Array = NDArray[np.floating]


def write_folded(bundle: Path, manifest: Manifest, folder: Path) -> None:
    """Write the folded graphs and their weights for this machine into `folder`.

    `folded-hypernet.onnx` takes `cond_id` and gives each generated kernel, float32 `[block, chunk, row]`, and what else
    depends on the member; `folded-network.onnx` takes all of them and the network's inputs, and gives
    its outputs.

    Raises:
        TuneError: this ensemble generates nothing that could be folded, or onnxruntime's blocked format mixes chunks.
        BundleError: onnxruntime cannot load the bundle's graphs, or a tensor's place or size is wrong.
    """
    plan, kernels_of = foldable(manifest)
    shapes = {slot.name: slot.shape for slot in manifest.slots}
    kernels = {slot: shapes[slot] for of in kernels_of.values() for slot in of}
    others = {slot: shapes[slot] for slot in manifest.onnx.supplied if slot not in kernels} if manifest.onnx else {}
    blocked = blocked_network(bundle / NETWORK_FILE, kernels, others)
    generator = _Generator(bundle / HYPERNET_FILE, manifest)
    supplied: dict[str, tuple[int, ...]] = dict(others)
    with _Weights(folder) as weights:
        for internal in (one for one in plan.hypernets if one.name in kernels_of):
            layers = {slot: len(plan.assembly[slot].pieces) for slot in kernels_of[internal.name]}
            order = chunk_order(internal.name, list(layers), blocked, plan).order
            generator.fold(internal, order, layers, weights)
            supplied |= {_blocked(slot): (order.shape[0], count, order.shape[1]) for slot, count in layers.items()}
    hypernet, network = generator.model(supplied, weights), _network_model(blocked, supplied)
    (folder / FOLDED_HYPERNET_FILE).write_bytes(hypernet.SerializeToString())
    (folder / FOLDED_NETWORK_FILE).write_bytes(network.SerializeToString())


def _blocked(slot: str) -> str:
    """The name of a kernel in blocked format."""
    return f"{slot}/blocked"


class _Weights(DataFile):
    """`folded.bin`, written basis by basis."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FOLDED_WEIGHTS_FILE)
        self.tensors: list[TensorProto] = []

    def store(self, name: str, values: Array) -> None:
        self.tensors.append(TensorProto(name=name, data_type=_element(values), dims=values.shape))
        refer(self.tensors[-1], self.name, self.add(values))


class _Generator:
    """`hypernet.onnx` with its last multiplications replaced."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path, self._manifest = path, manifest
        self._source = model = read_model(path)
        self._nodes = list(model.graph.node)
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}

    def fold(
        self, internal: InternalHypernet, order: NDArray[np.int64], layers: Mapping[str, int], weights: _Weights
    ) -> None:
        """Let an internal hypernetwork give the kernels of its layers (slot: how many chunks) in blocked format."""
        prefix = f"hypernet.{internal.name}"
        basis = self._basis(f"{prefix}.basis")
        factor = self._factor(f"{prefix}.basis")
        products = [node for node in self._nodes if factor in node.input]
        if len(products) != 1:
            raise TuneError(f"{self._path} multiplies {prefix}.basis {len(products)} times, expected once")
        (product,) = products
        embeddings = self._guarded(prefix, product.input[0], layers)
        if basis.ndim == 3:  # joined bases lie by output channel
            basis = basis.transpose(1, 0, 2).reshape(basis.shape[1], -1)
        folded = {f"{prefix}.folded": _permuted(basis, order)}
        if f"{prefix}.bias" in self._initializers:
            folded[f"{prefix}.folded_bias"] = _permuted(self._read(f"{prefix}.bias").reshape(1, -1), order)
        for name, values in folded.items():
            weights.store(name, values)
        outputs = [_blocked(slot) for slot in layers]
        if len(layers) == 1 and _element(basis) == TensorProto.FLOAT:
            self._nodes += _products(prefix, embeddings, folded, list(folded), outputs[0])
        else:
            self._nodes.append(_scan(prefix, embeddings, folded, outputs, list(layers.values())))

    def _guarded(self, prefix: str, embeddings: str, layers: Iterable[str]) -> str:
        """What the basis is multiplied with, and the guard where the graph adds it only to what is generated.

        An id that does not exist then has no chunks but NaN, as it has no tensors but NaN: at the price of a few
        numbers, where the kernels would go through memory once more.
        """
        adds = (node for node in self._nodes if node.op_type == "Add" and node.name.startswith(f"{GUARD}/"))
        guards = {node.input[1] for node in adds if node.output[0] in set(layers)}
        for guard in guards:
            self._nodes.append(helper.make_node("Add", [embeddings, guard], [f"{prefix}/guarded"], f"{prefix}/guarded"))
            return f"{prefix}/guarded"
        return embeddings

    def model(self, outputs: Mapping[str, tuple[int, ...]], weights: _Weights) -> onnx.ModelProto:
        """A model `cond_id -> outputs`; what no output needs is left out."""
        nodes = _needed(self._nodes, outputs)
        used = {name for node in nodes for name in reads(node)}
        kept = [tensor for name, tensor in self._initializers.items() if name in used]
        for tensor in kept:
            if tensor.data_location == TensorProto.EXTERNAL:
                tensor.CopyFrom(numpy_helper.from_array(np.array(self._read(tensor.name)), tensor.name))
        graph = helper.make_graph(
            nodes,
            f"{self._source.graph.name}-folded",
            self._source.graph.input,
            _values(outputs),
            [*kept, *weights.tensors],
        )
        return helper.make_model(graph, opset_imports=self._source.opset_import, ir_version=self._source.ir_version)

    def _factor(self, basis: str) -> str:
        """The name under which a basis is multiplied: its own, or that of what is made of it before."""
        for _ in self._nodes:
            node = next((node for node in self._nodes if basis in node.input), None)
            if node is None or node.op_type == "MatMul":
                break
            basis = node.output[0]
        return basis

    def _basis(self, name: str) -> Array:
        """A basis as it is stored, or, of integers, in float32, which holds them times their scales exactly.

        What is folded lies in another order, in which no scale belongs to neighbours.
        """
        if scales_name(name) not in self._initializers:
            return self._read(name)
        held = (torch.from_numpy(np.array(self._read(part, None))) for part in (name, scales_name(name)))
        return np.asarray(dequantised(*held).numpy())

    def _read(self, name: str, dtypes: tuple[type[np.generic], ...] | None = (np.float32, np.float16)) -> Array:
        """An initializer's values, in one of these dtypes.

        Raises:
            TuneError: there is none of this name.
            BundleError: its place or size is wrong.
        """
        tensor = self._initializers.get(name)
        values = None if tensor is None else tensor_values(tensor, self._path, self._manifest.files)
        if values is None or (dtypes is not None and values.dtype not in dtypes):
            raise TuneError(f"{self._path} does not hold {name} in float32 or float16; build the bundle again")
        return np.asarray(values)


def _products(
    prefix: str, embeddings: str, weights: Mapping[str, Array], inputs: list[str], output: str
) -> list[onnx.NodeProto]:
    """`embeddings @ basis`, the basis in float32 whatever it is stored in, and the bias added if there is one.

    Args:
        weights: the basis, and the bias if there is one.
        inputs: the names under which the nodes find them.
    """
    nodes, basis = [], inputs[0]
    if _element(next(iter(weights.values()))) == TensorProto.FLOAT16:
        basis = f"{prefix}/float32"
        nodes.append(helper.make_node("Cast", [inputs[0]], [basis], f"{prefix}/cast", to=TensorProto.FLOAT))
    names = [output] if len(weights) == 1 else [f"{prefix}/product", output]
    nodes.append(helper.make_node("MatMul", [embeddings, basis], [names[0]], f"{prefix}/folded"))
    if len(weights) == 2:
        nodes.append(helper.make_node("Add", [names[0], inputs[1]], [output], f"{prefix}/folded_bias"))
    return nodes


def _scan(
    prefix: str, embeddings: str, weights: Mapping[str, Array], outputs: list[str], chunks: list[int]
) -> onnx.NodeProto:
    """The kernels of several layers, float32 `[block, layer's chunks, row]` each, one block of the basis at a time.

    onnxruntime lets a step of a Scan write straight into its place in the outputs. So the product of one block is split
    into layers while it is in the processor's cache; as one MatMul and one Split of everything it would go through
    memory once more. A basis in float16 is cast block by block too: it is read as it is stored, and never lies in
    memory as float32 (onnxruntime would cast a whole constant once and for all when it loads the graph).
    """
    names = [f"{name}/block" for name in weights]
    whole, layers = f"{prefix}/block", [f"{output}/block" for output in outputs]
    rows = next(iter(weights.values())).shape[-1]
    sizes = numpy_helper.from_array(np.array(chunks, dtype=np.int64), f"{prefix}/layer_chunks")
    split = helper.make_node("Split", [whole, sizes.name], layers, f"{prefix}/split", axis=0)
    body = helper.make_graph(
        [*_products(prefix, embeddings, weights, names, whole), split],
        f"{prefix}/block",
        [
            helper.make_tensor_value_info(name, _element(values), values.shape[1:])
            for name, values in zip(names, weights.values(), strict=True)
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [count, rows])
            for name, count in zip(layers, chunks, strict=True)
        ],
        [sizes],
    )
    return helper.make_node("Scan", list(weights), outputs, f"{prefix}/scan", num_scan_inputs=len(weights), body=body)


def _element(values: Array) -> int:
    """ONNX's number of an array's dtype."""
    return int(helper.np_dtype_to_tensor_dtype(values.dtype))


def _permuted(basis: Array, order: NDArray[np.int64]) -> Array:
    """`[embedding, chunk]` to `[block, embedding, row]` of the same dtype; padding becomes zero."""
    folded = np.empty((order.shape[0], basis.shape[0], order.shape[1]), basis.dtype)
    for row, values in enumerate(basis):
        folded[:, row] = np.where(order < 0, basis.dtype.type(0), values[np.maximum(order, 0)])
    return folded


def _network_model(blocked: BlockedNetwork, supplied: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """The network as onnxruntime optimised it, with inputs in place of the kernels and tensors that a member has.

    Raises:
        TuneError: onnxruntime computed something of a tensor that members have of their own, and left the tensor out.
    """
    source = blocked.model
    slots = {name: slot for slot, name in blocked.initializers.items()}
    constants, nodes = [], []
    for tensor in source.graph.initializer:
        if tensor.name in slots:
            shape = numpy_helper.from_array(np.array(tensor.dims, dtype=np.int64), f"{tensor.name}/shape")
            kernel = [_blocked(slots[tensor.name]), shape.name]
            nodes.append(helper.make_node("Reshape", kernel, [tensor.name], f"{tensor.name}/reshape"))
            constants.append(shape)
        elif tensor.name not in supplied:
            constants.append(tensor)
    nodes += source.graph.node
    used = {name for node in nodes for name in reads(node)}
    lost = [name for name in supplied if name not in used]
    if lost:
        raise TuneError(f"onnxruntime folds {lost[0]}, which differs between members, into others; it cannot be folded")
    graph = helper.make_graph(
        nodes,
        f"{source.graph.name}-folded",
        [*_values(supplied), *source.graph.input],
        source.graph.output,
        [tensor for tensor in constants if tensor.name in used],
    )
    return helper.make_model(graph, opset_imports=source.opset_import, ir_version=source.ir_version)


def _values(shapes: Mapping[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, in an order in which they can run."""
    producers = {name: node for node in nodes for name in node.output if name}
    ordered: list[onnx.NodeProto] = []
    done: set[int] = set()
    stack = [(producers[name], False) for name in outputs]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            ordered.append(node)
            continue
        stack.append((node, True))
        stack += [(producers[name], False) for name in reads(node) if name in producers]
    return ordered
