"""`weights.bin`: the stored tensors, raw, that the three ONNX files of a bundle share.

Each tensor is little-endian in row-major order, float32 or (bases alone) float16, and starts at a multiple of the page
size, so that runtimes map the file into memory instead of copying it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from torch import Tensor

from hnexport.hypernet.storage import ALIGNMENT_BYTES

__all__ = ["WEIGHTS_FILE", "TensorLocation", "WeightsFile", "write_weights"]

WEIGHTS_FILE = "weights.bin"


@dataclass(frozen=True, kw_only=True)
class TensorLocation:
    """Where a tensor lies in the file; `dtype` is numpy's name of it."""

    dtype: str
    shape: tuple[int, ...]
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A written weights file: its folder and where each tensor lies."""

    folder: Path
    locations: Mapping[str, TensorLocation]

    def reference(self, name: str) -> ir.ExternalTensor:
        """An ONNX external-data reference to one tensor."""
        location = self.locations[name]
        return ir.ExternalTensor(
            WEIGHTS_FILE,
            location.offset_bytes,
            location.length_bytes,
            ir.DataType.from_numpy(np.dtype(location.dtype)),
            shape=ir.Shape(location.shape),
            name=name,
            base_dir=self.folder,
        )


def write_weights(folder: Path, tensors: Mapping[str, Tensor]) -> WeightsFile:
    """Write `tensors` (float32 or float16) into `folder`, in their order."""
    locations = {}
    with (folder / WEIGHTS_FILE).open("wb") as file:
        for name, tensor in tensors.items():
            file.write(b"\0" * (-file.tell() % ALIGNMENT_BYTES))
            values = np.ascontiguousarray(tensor.detach().cpu().numpy())
            values = values.astype(values.dtype.newbyteorder("<"), copy=False)
            locations[name] = TensorLocation(
                dtype=values.dtype.name,
                shape=tuple(tensor.shape),
                offset_bytes=file.tell(),
                length_bytes=values.nbytes,
            )
            file.write(values.data)
    return WeightsFile(folder=folder, locations=locations)
