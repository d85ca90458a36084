"""What stands for a file: its size and when it was last written to."""

import hashlib
from pathlib import Path

from hnexport.errors import RuntimeInputError

__all__ = ["check_same", "file_fingerprint"]


def file_fingerprint(path: Path) -> str:
    """Another one where the file was written to.

    Raises:
        RuntimeInputError: it is not there.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise RuntimeInputError(f"{path} cannot be read: {error.strerror}") from error
    return hashlib.sha256(f"{found.st_size} {found.st_mtime_ns}".encode()).hexdigest()


def check_same(path: Path, fingerprint: str) -> None:
    """Refuse a file that is another one than when the fingerprint was taken.

    Raises:
        RuntimeInputError: it is, or it is gone.
    """
    if file_fingerprint(path) != fingerprint:
        raise RuntimeInputError(f"{path} has changed while it was scored: put back what was there, or begin anew")
