"""Read a pipeline's stored tensors back from a bundle. (Unlike its siblings, this module needs torch and onnx.)

ONNX files are read here, as data. TorchScript and `.pt2` files are programs: this module never loads them, but asks
whoever calls it for what they hold.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo
from torch import Tensor

from hnexport.bundle.manifest import Format, Manifest
from hnexport.errors import BundleError
from hnexport.hypernet.storage import stored_tensors

__all__ = ["as_stored", "restore_tensors"]

T = TypeVar("T", Tensor, NDArray[np.generic])
Array = NDArray[np.generic]


def restore_tensors(
    bundle: Path, manifest: Manifest, stored: Callable[[Path], Iterable[tuple[str, Array]]] | None = None
) -> dict[str, Tensor]:
    """Every stored tensor of the bundle's pipeline by name, in the dtype in which it is stored.

    Args:
        stored: gives the tensors of a TorchScript or `.pt2` file; `hnexport.parity.programs` has one that runs no
            stranger's program in this process. None where only ONNX files are to be read.

    Raises:
        BundleError: the bundle's files do not hold them.
    """
    found: dict[str, Tensor]
    if Format.ONNX in manifest.formats:
        found = _from_onnx(bundle)
    elif stored is not None:
        name = "model.pt2" if Format.PT2 in manifest.formats else "model.pt"
        found = {key: torch.from_numpy(np.array(tensor)) for key, tensor in stored(bundle / name)}
    else:
        raise BundleError(f"{bundle} holds no ONNX files, only {', '.join(manifest.formats)}: build it with onnx")
    found = {name.removeprefix("generator."): tensor.detach() for name, tensor in found.items()}
    expected = {stored.name: stored.shape for stored in stored_tensors(manifest.spec)}
    missing = [name for name in expected if name not in found]
    if missing:
        raise BundleError(f"{bundle} does not hold the tensor {missing[0]} that its specification needs")
    return {name: as_stored(found[name], shape) for name, shape in expected.items()}


def as_stored(tensor: T, shape: tuple[int, ...]) -> T:
    """Undo the layout of joined bases in ONNX files, `[out_channel, embedding, row]`; other tensors as they are.

    Args:
        shape: of the stored tensor; see `hnexport.hypernet.storage.stored_tensors`.
    """
    if tensor.ndim == 3 and len(shape) == 2:
        return tensor.swapaxes(0, 1).reshape(shape)
    return tensor


def _from_onnx(bundle: Path) -> dict[str, Tensor]:
    model = onnx.load(bundle / "model.onnx", load_external_data=False)
    tensors = {}
    for initializer in model.graph.initializer:
        if initializer.data_location == onnx.TensorProto.EXTERNAL:
            place = ExternalDataInfo(initializer)
            dtype = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}.get(
                initializer.data_type
            )
            if dtype is None:
                raise BundleError(
                    f"{bundle}: {initializer.name} is neither float32 nor float16; build the bundle again"
                )
            start, length = ((place.offset or 0) // dtype.itemsize, (place.length or 0) // dtype.itemsize)
            try:
                flat = torch.from_file(str(bundle / place.location), size=start + length, dtype=dtype)
            except RuntimeError as error:
                raise BundleError(f"{bundle / place.location} is damaged or missing; copy the bundle again") from error
            tensors[initializer.name] = flat[start:].reshape(tuple(initializer.dims))
    return tensors
