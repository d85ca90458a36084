"""`golden.safetensors`: images and every member's reference logits, so that any loader can check itself."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.errors import BundleError
from hnexport.hypernet.storage import stored_tensors
from hnexport.reading import ReadError, parse_json, regular_size, shown
from hnexport.records import RecordError, from_json

__all__ = ["GOLDEN_FILE", "Golden", "read_golden", "write_golden"]

GOLDEN_FILE = "golden.safetensors"
_METADATA = "hnexport.golden"
# As safetensors names them.
_IMAGE_DTYPES = MappingProxyType({"float32": "F32", "uint8": "U8"})
_DTYPES = MappingProxyType({"images": "", "members": "I64", "logits": "F64", "eager": "F32"})  # images: the signature's


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """The reference that artifacts are compared with.

    Attributes:
        images: `[image, …]`, in the dtype and layout of the graph's image input.
        kinds: what each image is, in words.
        members: int64 `[member]`: the members that were computed (all, or a sample of a large ensemble).
        logits: float64 `[member, image, class]`: PyTorch in float64.
        eager: float32 `[member, image, class]`: PyTorch in float32, the yardstick for rounding.
        fingerprints: of the stored tensors that the logits come from, by name; see `hnexport.bundle.fingerprints`.
    """

    images: NDArray[np.generic]
    kinds: tuple[str, ...]
    members: NDArray[np.int64]
    logits: NDArray[np.float64]
    eager: NDArray[np.float32]
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The metadata, as JSON."""

    kinds: tuple[str, ...]
    fingerprints: Mapping[str, str]


def write_golden(folder: Path, golden: Golden) -> None:
    """Write `golden.safetensors` into a bundle folder."""
    tensors = {
        "images": np.ascontiguousarray(golden.images),
        "members": golden.members,
        "logits": golden.logits,
        "eager": golden.eager,
    }
    described = {"kinds": golden.kinds, "fingerprints": dict(golden.fingerprints)}
    # One key: safetensors writes several in an order that changes from run to run.
    save_file(tensors, folder / GOLDEN_FILE, metadata={_METADATA: json.dumps(described, sort_keys=True)})
    (folder / GOLDEN_FILE).chmod(0o644)  # safetensors writes files that only their owner may read


def read_golden(folder: Path, manifest: Manifest | None = None) -> Golden:
    """Read `golden.safetensors` of a bundle; dtypes and shapes are checked before any tensor is read.

    Args:
        manifest: the bundle's, where it was read before.

    Raises:
        BundleError: it is missing or damaged, or not what the manifest's specification asks for.
    """
    path, manifest = folder / GOLDEN_FILE, manifest or read_manifest(folder)
    try:
        regular_size(path)
        with safe_open(path, framework="numpy") as file:
            tensors = _read_tensors(file, manifest)
            described = parse_json((file.metadata() or {}).get(_METADATA, ""), f"its metadata {_METADATA}")
        kinds, fingerprints = _read_description(described, manifest, len(tensors["images"]))
        _check_values(tensors, manifest)
    except (OSError, SafetensorError, ReadError, RecordError) as error:
        raise BundleError(f"{path} cannot be read: {error}; copy or build the bundle again") from error
    return Golden(kinds=kinds, fingerprints=fingerprints, **tensors)


def _read_tensors(file: Any, manifest: Manifest) -> dict[str, NDArray[Any]]:
    """The tensors, after their dtypes and shapes in the header fit each other and the specification.

    Raises:
        ReadError: one is missing, or of another dtype or shape.
    """
    held = set(file.keys())
    missing = [name for name in _DTYPES if name not in held]
    if missing:
        raise ReadError(f"it has no tensor {missing[0]}")
    slices = {name: file.get_slice(name) for name in _DTYPES}
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    image_dtype, image_shape = manifest.spec.image_input
    images, members = (shapes[name][0] if shapes[name] else 0 for name in ("images", "members"))
    logits = (members, images, manifest.spec.network.classes)
    expected = {"images": (images, *image_shape), "members": (members,), "logits": logits, "eager": logits}
    for name, part in slices.items():
        dtype = _IMAGE_DTYPES[image_dtype] if name == "images" else _DTYPES[name]
        if part.get_dtype() != dtype or shapes[name] != expected[name]:
            raise ReadError(
                f"expected {name} of dtype {dtype} and shape {list(expected[name])}, "
                f"found {part.get_dtype()} and {list(shapes[name])}"
            )
    if not images or not members:
        raise ReadError(f"it has {images} images and {members} members, expected at least one of each")
    return {name: file.get_tensor(name) for name in _DTYPES}


def _read_description(described: Any, manifest: Manifest, images: int) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Kinds and fingerprints.

    Raises:
        ReadError: there is not one kind for each image, or not one fingerprint for each stored tensor.
    """
    found = from_json(_Description, described, f"metadata {_METADATA}: $")
    if len(found.kinds) != images:
        raise ReadError(f"it has {images} images and {len(found.kinds)} kinds of image")
    names = {stored.name for stored in stored_tensors(manifest.spec)}
    different = names.symmetric_difference(found.fingerprints)
    if different:
        raise ReadError(f"expected a fingerprint of each stored tensor and no other, found otherwise: {min(different)}")
    for name, value in found.fingerprints.items():
        if re.fullmatch(r"[0-9a-f]{64}", value) is None:
            raise ReadError(f"the fingerprint of {name} is {shown(value)}, expected 64 hexadecimal digits")
    return found.kinds, found.fingerprints


def _check_values(tensors: Mapping[str, NDArray[Any]], manifest: Manifest) -> None:
    """Refuse members that do not exist or stand twice, and logits that are not finite."""
    members = tensors["members"].tolist()
    if len(set(members)) < len(members) or not all(0 <= member < manifest.spec.members for member in members):
        raise ReadError(f"expected different members of 0 to {manifest.spec.members - 1}, found {shown(members)}")
    for name in ("logits", "eager"):
        if not np.isfinite(tensors[name]).all():
            raise ReadError(f"{name} holds numbers that are not finite: nothing can be compared with them")
