"""The golden samples of bundles of schema version 1: images and logits."""

from types import MappingProxyType
from typing import Any

import numpy as np

from hnexport.bundle.manifest import Manifest
from hnexport.reading import ReadError
from hnexport.rows import LARGEST_NOISE, relative_l2

__all__ = ["read_tensors1"]

_IMAGE_DTYPES = MappingProxyType({"float32": "F32", "uint8": "U8"})
_DTYPES = MappingProxyType({"images": "", "members": "I64", "logits": "F64", "eager": "F32"})  # images: the signature's


def read_tensors1(file: Any, manifest: Manifest, samples: int) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Members, and what else `Golden` has, after dtypes and shapes in the header fit each other and the signature.

    Raises:
        ReadError: one is missing, or of another dtype or shape.
    """
    held = set(file.keys())
    missing = [name for name in _DTYPES if name not in held]
    if missing:
        raise ReadError(f"it has no tensor {missing[0]}")
    slices = {name: file.get_slice(name) for name in _DTYPES}
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    (image,), (output,) = manifest.signature.inputs, manifest.signature.outputs
    images, members = (shapes[name][0] if shapes[name] else 0 for name in ("images", "members"))
    logits = (members, images, *output.row)
    expected = {"images": (images, *image.row), "members": (members,), "logits": logits, "eager": logits}
    for name, part in slices.items():
        dtype = _IMAGE_DTYPES[image.dtype] if name == "images" else _DTYPES[name]
        if part.get_dtype() != dtype or shapes[name] != expected[name]:
            raise ReadError(
                f"expected {name} of dtype {dtype} and shape {list(expected[name])}, "
                f"found {part.get_dtype()} and {list(shapes[name])}"
            )
    if not images or not members:
        raise ReadError(f"it has {images} images and {members} members, expected at least one of each")
    if images != samples:
        raise ReadError(f"it has {images} images and {samples} kinds of image")
    tensors = {name: file.get_tensor(name) for name in _DTYPES}
    for name in ("logits", "eager"):
        if not np.isfinite(tensors[name]).all():
            raise ReadError(f"{name} holds numbers that are not finite: nothing can be compared with them")
    eager = np.minimum(relative_l2(tensors["eager"], tensors["logits"]), LARGEST_NOISE)
    return tensors["members"], {
        "inputs": {image.name: tensors["images"]},
        "outputs": {output.name: tensors["logits"]},
        "eager": {output.name: eager},
        "noise": {output.name: np.zeros_like(eager)},
    }
