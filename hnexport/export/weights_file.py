"""`weights.bin`: the stored tensors that the ONNX files of a bundle share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from hnexport.dotted import named_tensors
from hnexport.ensemble import Ensemble
from hnexport.export.external_data import DataFile
from hnexport.halves import as_in_onnx_files
from hnexport.names import WEIGHTS_FILE

__all__ = ["TensorLocation", "WeightsFile", "empty", "rearranged", "size_bytes", "write_weights"]

_DTYPES = {
    torch.bool: ir.DataType.BOOL,
    torch.uint8: ir.DataType.UINT8,
    torch.int8: ir.DataType.INT8,
    torch.int16: ir.DataType.INT16,
    torch.int32: ir.DataType.INT32,
    torch.int64: ir.DataType.INT64,
    torch.uint16: ir.DataType.UINT16,
    torch.uint32: ir.DataType.UINT32,
    torch.uint64: ir.DataType.UINT64,
    torch.float16: ir.DataType.FLOAT16,
    torch.bfloat16: ir.DataType.BFLOAT16,
    torch.float32: ir.DataType.FLOAT,
    torch.float64: ir.DataType.DOUBLE,
}


@dataclass(frozen=True, kw_only=True)
class TensorLocation:
    """Where a tensor lies in the file."""

    dtype: ir.DataType
    shape: tuple[int, ...]
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A written weights file: its folder and where each tensor lies."""

    folder: Path
    locations: Mapping[str, TensorLocation]

    def reference(self, name: str) -> ir.TensorProtocol:
        """An ONNX external-data reference to one tensor; one without elements stands in the graph itself."""
        location = self.locations[name]
        if not location.length_bytes:
            return empty(location.dtype, location.shape, name)
        return ir.ExternalTensor(
            WEIGHTS_FILE,
            location.offset_bytes,
            location.length_bytes,
            location.dtype,
            shape=ir.Shape(location.shape),
            name=name,
            base_dir=self.folder,
        )


def rearranged(ensemble: Ensemble) -> dict[str, Tensor]:
    """The stored tensors as the ONNX files hold them, in the order of `Ensemble.stored`; views where possible."""
    held = named_tensors(as_in_onnx_files(ensemble.generator))
    return {stored.name: held[stored.name].detach() for stored in ensemble.stored}


def empty(dtype: ir.DataType, shape: Sequence[int], name: str) -> ir.TensorProtocol:
    """A tensor without elements: runtimes map no file for it."""
    return ir.Tensor(np.empty(tuple(shape), dtype.numpy()), dtype=dtype, name=name)


def size_bytes(dtype: ir.DataType, shape: Sequence[int]) -> int:
    """Bytes of a tensor's elements."""
    return math.ceil(float(dtype.itemsize) * math.prod(shape))


def write_weights(folder: Path, tensors: Mapping[str, Tensor]) -> WeightsFile:
    """Write `tensors` into `folder`, in their order; one of them at a time is copied where it is not contiguous."""
    locations = {}
    with DataFile(folder / WEIGHTS_FILE) as file:
        for name, tensor in tensors.items():
            values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            offset, length = file.add(values)
            locations[name] = TensorLocation(
                dtype=_DTYPES[tensor.dtype], shape=tuple(tensor.shape), offset_bytes=offset, length_bytes=length
            )
    return WeightsFile(folder=folder, locations=locations)
