"""Fingerprints of the stored tensors: every artifact must hold the very numbers that went into the build."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["fingerprint", "fingerprints"]


def fingerprint(tensor: NDArray[np.generic]) -> str:
    """SHA-256 of a tensor's dtype, shape and little-endian bytes."""
    values = np.ascontiguousarray(tensor).reshape(np.shape(tensor))
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{values.dtype.name}{list(values.shape)}".encode())
    digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def fingerprints(tensors: Iterable[tuple[str, NDArray[np.generic]]]) -> Mapping[str, str]:
    """The fingerprint of each tensor, by name."""
    return {name: fingerprint(tensor) for name, tensor in tensors}
