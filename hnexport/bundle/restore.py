"""Read the stored tensors back from a bundle. (Unlike its siblings, this module needs torch and onnx.)

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
from hnexport.bundle.onnx_data import read_model
from hnexport.bundle.onnx_tensors import is_external, place
from hnexport.errors import BundleError
from hnexport.names import GENERATOR_PREFIX, MODEL_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.spec import StoredTensor

__all__ = ["as_stored", "restore_tensors"]

T = TypeVar("T", Tensor, NDArray[np.generic])
Array = NDArray[np.generic]


def restore_tensors(
    bundle: Path, manifest: Manifest, stored: Callable[[Path], Iterable[tuple[str, Array]]] | None = None
) -> dict[str, Tensor]:
    """Every stored tensor of the bundle by name, in the dtype in which it is stored.

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
        name = PT2_FILE if Format.PT2 in manifest.formats else TORCHSCRIPT_FILE
        found = {key: torch.from_numpy(np.array(tensor)) for key, tensor in stored(bundle / name)}
    else:
        raise BundleError(f"{bundle} holds no ONNX files, only {', '.join(manifest.formats)}: build it with onnx")
    for item in manifest.stored:
        if not item.size:  # it stands in no file
            found.setdefault(item.name, torch.empty(item.shape, dtype=getattr(torch, item.dtype)))
    found = {name.removeprefix(GENERATOR_PREFIX): tensor.detach() for name, tensor in found.items()}
    missing = next((item.name for item in manifest.stored if item.name not in found), None)
    if missing is not None:
        raise BundleError(f"{bundle} does not hold the tensor {missing} that its specification needs")
    return {item.name: _checked(bundle, item, as_stored(found[item.name], item.shape)) for item in manifest.stored}


def _checked(bundle: Path, stored: StoredTensor, tensor: Tensor) -> Tensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tuple(tensor.shape) != stored.shape or dtype != stored.dtype:
        raise BundleError(
            f"{bundle}: the tensor {stored.name} should be {stored.dtype} {list(stored.shape)}, "
            f"its file has {dtype} {list(tensor.shape)}; build the bundle again or copy it again"
        )
    return tensor


def as_stored(tensor: T, shape: tuple[int, ...]) -> T:
    """A joined basis, `[out_channel, embedding, row]` in ONNX files, as all else stores it; other tensors as they are.

    Args:
        shape: of the stored tensor; see `Manifest.stored`.
    """
    if tensor.ndim == 3 and len(shape) == 2 and math.prod(tensor.shape) == math.prod(shape):
        return tensor.swapaxes(0, 1).reshape(shape)
    return tensor


def _from_onnx(bundle: Path, manifest: Manifest) -> dict[str, Tensor]:
    path = bundle / MODEL_FILE
    tensors = {}
    for initializer in read_model(path).graph.initializer:
        found = place(initializer, bundle, manifest.files) if is_external(initializer) else None
        if found is None:
            continue
        if not isinstance(getattr(torch, found.dtype.name, None), torch.dtype):
            raise BundleError(f"{path}: {initializer.name} is {found.dtype.name}, which PyTorch lacks")
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
