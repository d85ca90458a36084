"""A Gather whose indices count from 0 to the end copies what it reads, as exporters write a view of an image.

OpenVINO 2026.4 computes it wrong behind int8 (batches of more than one sample), and every other runtime copies for
nothing: it is left out.
"""

from pathlib import Path

import numpy as np
import onnx

from hnexport.errors import ParityError
from hnexport.parity.trace.onnx_graph import keep_ancestors, open_values, reads
from hnexport.rows import taken
from hnexport.runtime.samples import trial_inputs
from hnexport.spec import Signature

__all__ = ["drop_counting"]


def drop_counting(model: onnx.ModelProto, path: Path, signature: Signature) -> None:
    """Let what reads `Gather(Reshape(x, [-1]), 0 to the end)`, of the shape of `x`, read `x`.

    Args:
        path: of the file that the model was read from.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    shapes = {
        item.name: item.type.tensor_type.shape for item in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    outputs = {item.name for item in graph.output}
    for node in [node for node in graph.node if node.op_type == "Gather" and node.output[0] not in outputs]:
        flat = makers.get(node.input[0])
        if flat is None or flat.op_type != "Reshape" or flat.input[0] not in shapes:
            continue
        sizes = [size.dim_value for size in shapes[flat.input[0]].dim]  # 0 where it is open: the batch
        if all(_counts(model, path, signature, node.input[1], sizes, batch) for batch in (1, 3)):
            for reader in graph.node:
                reader.input[:] = [flat.input[0] if name == node.output[0] else name for name in reader.input]
            graph.node.remove(node)
    _drop_unread(graph)


def _counts(model: onnx.ModelProto, path: Path, signature: Signature, name: str, sizes: list[int], batch: int) -> bool:
    """Whether a value is 0, 1, 2 and so on in the shape of these sizes, for that batch."""
    if not _of_sizes_alone(model.graph, name):  # sorted samples of equal numbers count too
        return False
    part = onnx.ModelProto()
    part.CopyFrom(model)
    keep_ancestors(part, [name])
    own = {item.name for item in part.graph.input}
    inputs = taken(signature, trial_inputs(signature), [0] * batch)
    try:
        session = open_values(part, path, [name], optimise=False)
        found = session.run([name], {given: value for given, value in inputs.items() if given in own})[0]
    except ParityError:
        return False
    except Exception:  # onnxruntime's exceptions have no common root: it needs what is supplied
        return False
    expected = [size or batch for size in sizes]
    return list(found.shape) == expected and np.array_equal(found.ravel(), np.arange(found.size))


def _of_sizes_alone(graph: onnx.GraphProto, name: str) -> bool:
    """Whether inputs decide a value by their shapes alone."""
    makers = {made: node for node in graph.node for made in node.output}
    inputs, seen, pending = {item.name for item in graph.input}, {name}, [name]
    while pending:
        node = makers.get(pending.pop())
        if node is None or node.op_type in ("Shape", "Size"):
            continue
        fresh = set(reads(node)) - seen
        seen |= fresh
        pending += fresh
    return inputs.isdisjoint(seen)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drop nodes that nothing reads."""
    while True:
        read = {name for node in graph.node for name in reads(node)} | {item.name for item in graph.output}
        left = [node for node in graph.node if read.intersection(node.output)]
        if len(left) == len(graph.node):
            return
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in left]
        del graph.node[:]
        graph.node.extend(copies)
