"""`golden.safetensors`: images and every member's reference logits, so that any loader can check itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hnexport.errors import BundleError

__all__ = ["GOLDEN_FILE", "Golden", "read_golden", "write_golden"]

GOLDEN_FILE = "golden.safetensors"
_METADATA = "hnexport.golden"


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


def read_golden(folder: Path) -> Golden:
    """Read `golden.safetensors` of a bundle.

    Raises:
        BundleError: it is missing or damaged.
    """
    path = folder / GOLDEN_FILE
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in ("images", "members", "logits", "eager")}
            described = json.loads((file.metadata() or {})[_METADATA])
        kinds, fingerprints = tuple(described["kinds"]), dict(described["fingerprints"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} cannot be read: {error}; copy or build the bundle again") from error
    return Golden(kinds=kinds, fingerprints=fingerprints, **tensors)
