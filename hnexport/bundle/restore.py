"""Read a pipeline's stored tensors back from a bundle. (Unlike its siblings, this module needs torch and onnx.)

ONNX files are read here, as data. TorchScript and `.pt2` files are programs: this module never loads them, but asks
whoever calls it for what they hold.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.manifest import Format, Manifest
from hnexport.bundle.onnx_data import is_external, place, read_model
from hnexport.errors import BundleError

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
        found = _from_onnx(bundle, manifest)
    elif stored is not None:
        name = "model.pt2" if Format.PT2 in manifest.formats else "model.pt"
        found = {key: torch.from_numpy(np.array(tensor)) for key, tensor in stored(bundle / name)}
    else:
        raise BundleError(f"{bundle} holds no ONNX files, only {', '.join(manifest.formats)}: build it with onnx")
    found = {name.removeprefix("generator."): tensor.detach() for name, tensor in found.items()}
    expected = {stored.name: stored.shape for stored in manifest.stored}
    missing = [name for name in expected if name not in found]
    if missing:
        raise BundleError(f"{bundle} does not hold the tensor {missing[0]} that its specification needs")
    return {name: as_stored(found[name], shape) for name, shape in expected.items()}


def as_stored(tensor: T, shape: tuple[int, ...]) -> T:
    """Undo the layout of joined bases in ONNX files, `[out_channel, embedding, row]`; other tensors as they are.

    Args:
        shape: of the stored tensor; see `Manifest.stored`.
    """
    if tensor.ndim == 3 and len(shape) == 2 and math.prod(tensor.shape) == math.prod(shape):
        return tensor.swapaxes(0, 1).reshape(shape)
    return tensor


def _from_onnx(bundle: Path, manifest: Manifest) -> dict[str, Tensor]:
    path = bundle / "model.onnx"
    tensors = {}
    for initializer in read_model(path).graph.initializer:
        found = place(initializer, bundle, manifest.files) if is_external(initializer) else None
        if found is None:
            continue
        if found.dtype.name not in ("float32", "float16"):
            raise BundleError(f"{path}: {initializer.name} is neither float32 nor float16; build the bundle again")
        if found.offset_bytes % found.dtype.itemsize:
            raise BundleError(f"{path}: {initializer.name} lies at an odd byte, {found.offset_bytes}")
        dtype, size = getattr(torch, found.dtype.name), math.prod(found.shape)
        start = found.offset_bytes // dtype.itemsize
        try:
            flat = torch.from_file(str(found.file), size=start + size, dtype=dtype)
        except RuntimeError as error:
            raise BundleError(f"{found.file} is damaged or missing; copy the bundle again") from error
        tensors[initializer.name] = flat[start:].reshape(found.shape)
    return tensors
