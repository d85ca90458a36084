"""ONNX graphs in float16: every float32 tensor and operator, but inputs and outputs."""

from pathlib import Path

import onnx
from onnx import TensorProto

from hnexport.bundle.onnx_data import embed_tensors, read_model
from hnexport.errors import TuneError

__all__ = ["write_half"]


def write_half(source: Path, target: Path) -> None:
    """Convert a graph with its weights to float16, in one file; inputs and outputs keep their types.

    Raises:
        TuneError: the graph computes in float64, or the converter cannot do it.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16  # it adds its folder to sys.path

    model = read_model(source)
    embed_tensors(model, source)
    if any(tensor.data_type == TensorProto.DOUBLE for tensor in model.graph.initializer):
        raise TuneError(f"{source} holds float64 tensors: what needs that precision is not made in float16")
    try:
        converted = convert_float_to_float16(model, keep_io_types=True)
    except Exception as error:  # the converter is written for networks that its authors knew
        raise TuneError(f"onnxruntime's converter makes no float16 graph of {source}: {error}") from error
    onnx.save(converted, target)
