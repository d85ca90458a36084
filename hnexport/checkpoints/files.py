"""Files as inputs: does it exist, and which bytes are they."""

import hashlib
import os
from pathlib import Path

from hnexport.errors import CheckpointError

__all__ = ["existing_file", "sha256"]


def existing_file(path: str | os.PathLike[str]) -> Path:
    """`path` as a `Path`.

    Raises:
        CheckpointError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: expected a checkpoint file, found {'a directory' if path.is_dir() else 'nothing'}"
        )
    if not os.access(path, os.R_OK):
        raise CheckpointError(f"{path}: this file may not be read by the current user")
    return path


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
