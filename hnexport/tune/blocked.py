"""Read onnxruntime's blocked format of kernels off onnxruntime itself.

`network.onnx` is optimised with kernels that hold their own positions 1, 2, 3, …; the optimised graph then shows where
each element went (0 is padding). A second optimisation, with kernels that hold their slot's number, shows which
initializer belongs to which slot. Positions are exact in float32 up to 2^24.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx.external_data_helper import load_external_data_for_model

from hnexport.bundle.sessions import session_source
from hnexport.errors import BundleError, TuneError
from hnexport.hypernet.plan import ChunkPlan, Piece

__all__ = ["BlockedBasis", "BlockedNetwork", "blocked_network", "chunk_order"]

LARGEST_KERNEL = 2**24
# Folding batch norm into a kernel would need another pass over each generated kernel; beside it, it is one cheap
# depthwise convolution that also applies the ReLU.
KEPT_APART = ["ConvBNFusion", "ConvMulFusion", "ConvAddFusion"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockedNetwork:
    """The main network as onnxruntime optimised it.

    Attributes:
        model: the optimised graph, with probe values as the initializers of supplied slots.
        initializers: by slot, the name of the initializer that holds its kernel.
        positions: by slot, for each element of that initializer (flat), the flat position in the kernel it came from;
            -1 is padding.
    """

    model: onnx.ModelProto
    initializers: Mapping[str, str]
    positions: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockedBasis:
    """The order in which an internal hypernetwork has to generate its chunks.

    Attributes:
        order: int64 `[block, row]`, positions in the flat chunk; -1 is padding. A layer's kernel is its chunks beside
            each other in each block: `[block, layer's chunks, row]`.
    """

    order: NDArray[np.int64]


def blocked_network(
    network: Path, kernels: Mapping[str, tuple[int, ...]], others: Mapping[str, tuple[int, ...]]
) -> BlockedNetwork:
    """Optimise `network.onnx` for this machine and see where its kernels' elements go.

    Args:
        kernels: shapes of the supplied slots that are to be generated in another order.
        others: shapes of the other supplied slots.

    Raises:
        TuneError: a kernel is too large for a probe, or the optimised graph does not show where it went.
    """
    largest = max(kernels, key=lambda slot: int(np.prod(kernels[slot])))
    if np.prod(kernels[largest]) >= LARGEST_KERNEL:
        raise TuneError(f"{largest} has more than {LARGEST_KERNEL} elements: positions are not exact in float32")
    rest = {slot: np.zeros(shape, np.float32) for slot, shape in others.items()}
    counted = {
        slot: np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape) for slot, shape in kernels.items()
    }
    numbered = {slot: np.full(shape, number, np.float32) for number, (slot, shape) in enumerate(kernels.items(), 1)}
    model = _optimised(network, counted | rest)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    slots = dict(enumerate(kernels, 1))
    initializers: dict[str, str] = {}
    for tensor in _optimised(network, numbered | rest).graph.initializer:
        if len(tensor.dims) == 4 and tensor.name in values:
            slot = slots.get(round(float(onnx.numpy_helper.to_array(tensor).max())))
            if slot is not None and _positions(values[tensor.name], kernels[slot]) is not None:
                initializers[slot] = tensor.name
    missing = [slot for slot in kernels if slot not in initializers]
    if missing:
        raise TuneError(_unfit(f"{missing[0]} as something else than a reordered kernel"))
    positions = {slot: _positions(values[name], kernels[slot]) for slot, name in initializers.items()}
    return BlockedNetwork(
        model=model,
        initializers=initializers,
        positions={slot: array for slot, array in positions.items() if array is not None},
    )


def chunk_order(name: str, layers: Sequence[str], network: BlockedNetwork, plan: ChunkPlan) -> BlockedBasis:
    """The order of an internal hypernetwork's chunks that suits all of its layers.

    Raises:
        TuneError: its layers need different orders, or one in which chunks are not beside each other.
    """
    joined = max(layers, key=lambda slot: len(plan.assembly[slot].pieces))
    order = _layer_order(joined, network.positions[joined], plan.assembly[joined].pieces)
    for slot in layers:
        pieces, positions = plan.assembly[slot].pieces, network.positions[slot]
        expected = _kernel_positions(order, pieces)
        if not np.array_equal(expected, positions):
            raise TuneError(_unfit(f"{slot} in another order than {joined}, whose chunks {name} generates too"))
    return BlockedBasis(order=order)


def _unfit(stored: str) -> str:
    """Why nothing can be folded, and what to do instead."""
    return (
        f"onnxruntime {onnxruntime.__version__} stores {stored}, on this machine: the bundle cannot be folded here, as "
        "with some numbers of feature maps. Load it untuned: strategy='materialised' is as fast, 'generated' needs "
        "less memory"
    )


def _layer_order(slot: str, positions: NDArray[np.int64], pieces: Sequence[Piece]) -> NDArray[np.int64]:
    """`[block, row]`: the order of the first chunk."""
    shape = pieces[0].shape
    row, kernel_row = int(np.prod(shape[1:])), len(pieces) * int(np.prod(shape[1:]))
    owner = np.where(positions < 0, -1, positions % kernel_row // row)
    if len(pieces) == 1:
        blocks = max(shape[0] // 16, 1)
        local = positions.reshape(blocks if positions.size % blocks == 0 else 1, -1)
    else:
        changes = 1 + int(np.count_nonzero(np.diff(owner)))
        if changes % len(pieces) or positions.size % changes:
            raise TuneError(_unfit(f"the kernel {slot} in blocks that take from several of its {len(pieces)} chunks"))
        local = positions.reshape(changes // len(pieces), len(pieces), -1)[:, 0]
    out, within = np.divmod(local, kernel_row)
    return np.where(local < 0, -1, out * row + within)


def _kernel_positions(order: NDArray[np.int64], pieces: Sequence[Piece]) -> NDArray[np.int64]:
    """Where the elements of a layer's kernel come from if each of its chunks is generated in `order`; flat."""
    row = int(np.prod(pieces[0].shape[1:]))
    out, within = np.divmod(order, row)
    parts = [np.where(order < 0, -1, (out * len(pieces) + number) * row + within) for number in range(len(pieces))]
    return np.stack(parts, axis=1).reshape(-1)


def _optimised(network: Path, weights: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """The graph that onnxruntime makes of `network.onnx` with these weights."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(path)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
        source = session_source(network, options)
        try:
            onnxruntime.InferenceSession(
                source.model, options, providers=["CPUExecutionProvider"], disabled_optimizers=KEPT_APART
            )
        except Exception as error:  # onnxruntime's exceptions have no common root
            raise BundleError(f"onnxruntime {onnxruntime.__version__} cannot load {network}: {error}") from error
        model = onnx.load(path, load_external_data=False)
    load_external_data_for_model(model, str(network.parent))  # shared tensors that are used as they are
    return model


def _positions(tensor: onnx.TensorProto, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Flat positions, -1 for padding; None where the values are not each position once."""
    found = onnx.numpy_helper.to_array(tensor).reshape(-1)
    positions = found.astype(np.int64) - 1
    counted = np.sort(positions[positions >= 0])
    exact = np.array_equal(positions + 1, found) and np.array_equal(counted, np.arange(np.prod(shape)))
    return positions if exact else None
