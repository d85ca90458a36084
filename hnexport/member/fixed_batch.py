"""An ONNX graph for one batch size: for converters that want every shape as a number."""

import onnx
import onnx_ir as ir
from onnxscript import optimizer

from hnexport.errors import ExportError
from hnexport.spec import BATCH

__all__ = ["fix_batch"]


def fix_batch(model: onnx.ModelProto, batch: int) -> None:
    """Give the batch axis of every input and output one size, and fold what follows from it: `Shape` and its like.

    Raises:
        ExportError: the graph has no batch axis.
    """
    found = [_fix(item, batch) for item in (*model.graph.input, *model.graph.output)]
    if not any(found):
        raise ExportError("the network has no batch axis that could be fixed: leave the batch size out")
    del model.graph.value_info[:]  # they name the axis
    tensors = list(model.graph.initializer)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.initializer[:]
    known = [item.name for item in bare.graph.input]
    for tensor in tensors:  # large ones are no constants for the folding, only values of a known shape
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            bare.graph.initializer.append(tensor)
    graph = ir.from_proto(bare)
    optimizer.fold_constants(graph, onnx_shape_inference=True)
    folded = ir.to_proto(graph)
    inputs = [item for item in folded.graph.input if item.name in known]
    del folded.graph.input[:]
    folded.graph.input.extend(inputs)
    folded.graph.initializer.extend(t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL)
    model.CopyFrom(folded)


def _fix(item: onnx.ValueInfoProto, batch: int) -> bool:
    sizes = [size for size in item.type.tensor_type.shape.dim if size.dim_param == BATCH]
    for size in sizes:
        size.dim_value = batch
    return bool(sizes)
