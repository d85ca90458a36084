"""The folded graph: onnxruntime's own optimised main network, fed by bases in its layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo

from hnexport.bundle.manifest import Manifest
from hnexport.errors import TuneError
from hnexport.hypernet.chunking import InternalHypernet, plan_chunks
from hnexport.networks.slots import network_slots
from hnexport.tune.cache import FOLDED_FILE, FOLDED_WEIGHTS_FILE
from hnexport.tune.layout import BlockedBasis, blocked_network, chunk_order

__all__ = ["write_folded"]

ALIGNMENT_BYTES = 4096


def write_folded(bundle: Path, manifest: Manifest, folder: Path) -> None:
    """Write `folded.onnx` and `folded.bin` for this machine into `folder`.

    Raises:
        TuneError: this pipeline generates nothing that could be folded, or its chunks hold more than one tensor, or
            onnxruntime's layout mixes chunks.
    """
    plan = plan_chunks(manifest.spec)
    if manifest.onnx is None or not plan.hypernets:
        raise TuneError(f"{manifest.name} generates no weights from ONNX files: there is nothing to fold")
    if any(len(hypernet.parts) > 1 for hypernet in plan.hypernets):
        raise TuneError(f"{manifest.name} generates batch norm or biases with its kernels: that cannot be folded yet")
    shapes = {slot.name: slot.shape for slot in network_slots(manifest.spec.network)}
    kernels = {slot: shapes[slot] for slot in plan.assembly}
    others = {slot: shapes[slot] for slot in manifest.onnx.supplied if slot not in kernels}
    blocked = blocked_network(bundle / "network.onnx", kernels, others)
    layers = {
        internal: [slot for slot, pieces in plan.assembly.items() if pieces[0].hypernet == internal.name]
        for internal in plan.hypernets
    }
    orders = {internal: chunk_order(internal.name, slots, blocked, plan) for internal, slots in layers.items()}
    generator = _Generator(onnx.load(bundle / "hypernet.onnx", load_external_data=False), bundle)
    blocked_shapes = {tensor.name: tuple(tensor.dims) for tensor in blocked.model.graph.initializer}
    with _Weights(folder) as weights:
        for internal, slots in layers.items():
            outputs = tuple(
                _Output(name=name, chunks=len(plan.assembly[slot]), shape=blocked_shapes[name])
                for slot in slots
                for name in [blocked.initializers[slot]]
            )
            generator.replace(internal, orders[internal], outputs, weights)
    model = _join(generator, blocked.model, set(blocked.initializers.values()), tuple(others), weights)
    (folder / FOLDED_FILE).write_bytes(model.SerializeToString())


@dataclass(frozen=True, kw_only=True)
class _Output:
    """An initializer of the optimised network that is generated instead: its name, chunks and blocked shape."""

    name: str
    chunks: int
    shape: tuple[int, ...]


class _Weights:
    """`folded.bin`, written basis by basis."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / FOLDED_WEIGHTS_FILE).open("wb")
        self.tensors: list[TensorProto] = []

    def add(self, name: str, values: NDArray[np.float32]) -> None:
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT_BYTES))
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": FOLDED_WEIGHTS_FILE, "offset": self._file.tell(), "length": values.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._file.write(np.ascontiguousarray(values).data)
        self.tensors.append(tensor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _Generator:
    """`hypernet.onnx` with its last multiplications replaced."""

    def __init__(self, model: onnx.ModelProto, bundle: Path) -> None:
        self.graph, self._bundle = model.graph, bundle
        self.nodes = list(model.graph.node)
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.opset = model.opset_import

    def replace(
        self,
        internal: InternalHypernet,
        blocked: BlockedBasis,
        outputs: tuple[_Output, ...],
        weights: _Weights,
    ) -> None:
        """Let an internal hypernetwork give initializers of the optimised network directly."""
        prefix = f"hypernet.{internal.name}"
        (product,) = [node for node in self.nodes if f"{prefix}.basis" in node.input]
        basis = self.read(f"{prefix}.basis")
        if basis.ndim == 3:  # joined bases lie by output channel
            basis = basis.transpose(1, 0, 2).reshape(basis.shape[1], -1)
        weights.add(f"{prefix}.folded", _permuted(basis, blocked.order))
        value = self._node("MatMul", [product.input[0], f"{prefix}.folded"], f"{prefix}/folded")
        if f"{prefix}.bias" in self.initializers:
            bias = self.read(f"{prefix}.bias").reshape(1, -1)
            weights.add(f"{prefix}.folded_bias", _permuted(bias, blocked.order))
            value = self._node("Add", [value, f"{prefix}.folded_bias"], f"{prefix}/folded_bias")
        parts = [f"{output.name}/chunks" for output in outputs] if len(outputs) > 1 else [value]
        if len(outputs) > 1:
            sizes = self._constant(f"{prefix}/sizes", [output.chunks for output in outputs])
            self.nodes.append(helper.make_node("Split", [value, sizes], parts, f"{prefix}/split", axis=1))
        for part, output in zip(parts, outputs, strict=True):
            shape = self._constant(f"{output.name}/shape", list(output.shape))
            self.nodes.append(helper.make_node("Reshape", [part, shape], [output.name], f"{output.name}/reshape"))

    def read(self, name: str) -> NDArray[np.float32]:
        """An external initializer's values."""
        tensor = self.initializers[name]
        place = ExternalDataInfo(tensor)
        values = np.memmap(
            self._bundle / place.location, np.dtype("<f4"), "r", place.offset or 0, (int(np.prod(tensor.dims)),)
        )
        return np.asarray(values).reshape(tuple(tensor.dims))

    def _node(self, kind: str, inputs: list[str], output: str) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], output))
        return output

    def _constant(self, name: str, values: list[int]) -> str:
        self.initializers[name] = numpy_helper.from_array(np.array(values, dtype=np.int64), name)
        return name


def _permuted(basis: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.float32]:
    """`[embedding, chunk]` to `[block, embedding, row]`; padding becomes zero."""
    folded = np.empty((order.shape[0], basis.shape[0], order.shape[1]), np.float32)
    for row, values in enumerate(basis):
        folded[:, row] = np.where(order < 0, np.float32(0), values[np.maximum(order, 0)])
    return folded


def _join(
    generator: _Generator, network: onnx.ModelProto, generated: set[str], others: tuple[str, ...], weights: _Weights
) -> onnx.ModelProto:
    """One model `(cond_id, image) -> logits`; what no output needs is left out."""
    supplied = generated | set(others)
    constants = {tensor.name: tensor for tensor in network.graph.initializer if tensor.name not in supplied}
    held = {**generator.initializers, **{tensor.name: tensor for tensor in weights.tensors}}
    clashes = [name for name in constants if name in held and not name.startswith(("shared.", "constant/"))]
    if clashes:
        raise TuneError(f"the optimised network and hypernet.onnx both hold {clashes[0]}")
    nodes = _needed([*generator.nodes, *network.graph.node], {output.name for output in network.graph.output})
    used = {name for node in nodes for name in node.input}
    initializers = [tensor for name, tensor in {**held, **constants}.items() if name in used]
    for tensor in initializers:
        if tensor.data_location == TensorProto.EXTERNAL and tensor not in weights.tensors:
            values = generator.read(tensor.name)
            tensor.CopyFrom(numpy_helper.from_array(np.array(values), tensor.name))
    graph = helper.make_graph(
        nodes,
        f"{generator.graph.name}-folded",
        [*generator.graph.input, *network.graph.input],
        network.graph.output,
        initializers,
    )
    return helper.make_model(graph, opset_imports=network.opset_import, ir_version=network.ir_version)


def _needed(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
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
        stack += [(producers[name], False) for name in node.input if name in producers]
    return ordered
