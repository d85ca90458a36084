"""Files as inputs: does it exist, and which bytes are they."""

import hashlib
import os
from pathlib import Path

from hnexport.errors import CheckpointError
from hnexport.reading import MissingFileError, ReadError, open_regular

__all__ = ["existing_file", "sha256"]


def existing_file(path: str | os.PathLike[str]) -> Path:
    """`path` as a `Path`.

    Raises:
        CheckpointError: there is no such file, it is no regular one (a folder, a FIFO, …), or it cannot be read.
    """
    path = Path(path)
    try:
        open_regular(path).close()
    except MissingFileError:
        raise CheckpointError(f"{path}: expected a checkpoint file, found nothing") from None
    except ReadError as error:
        raise CheckpointError(f"{error}; give a checkpoint file") from error
    return path


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
