"""Checksums of the files that a load uses, with large files read once and remembered.

What is remembered: that the file with this path, device, inode, size, modification and change time had this SHA-256.
It is one small JSON file for each large file, in the user's cache folder; an entry that is missing, unreadable or not
about this very file only means that the file is read again.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hnexport.bundle.checksums import Listing, check_files, check_sizes
from hnexport.errors import CacheError
from hnexport.reading import read_json
from hnexport.runtime.cache import cache_folder
from hnexport.runtime.options import Checksums

__all__ = ["LARGE_BYTES", "verify_files"]

logger = logging.getLogger(__name__)

LARGE_BYTES = 16 * 2**20  # about 10 ms of SHA-256
_ENTRY_BYTES = 2**16
_SETTLED_NS = 2 * 10**9  # a younger file might change again within one tick of the file system's clock


def verify_files(folder: Path, manifest: Listing, names: Iterable[str], checksums: Checksums) -> None:
    """Compare the files with the manifest: sizes always, SHA-256 as `checksums` says.

    Raises:
        BundleError: a file is missing or damaged; the message names it.
    """
    names = list(names)
    check_sizes(folder, manifest, names)
    if checksums is Checksums.NEVER:
        return
    for name in names:
        path, record = folder / name, manifest.files[name]
        if checksums is Checksums.ALWAYS or record.size_bytes < LARGE_BYTES:
            check_files(folder, manifest, [name])
        elif not _is_remembered(path, record.sha256):
            before = _identity(path)
            check_files(folder, manifest, [name])
            changed_ns = max(before["mtime_ns"], before["ctime_ns"])
            if _identity(path) == before and time.time_ns() - changed_ns > _SETTLED_NS:
                _remember(path, record.sha256)


def _identity(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "device": status.st_dev,
        "inode": status.st_ino,
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }


def _entry(path: Path) -> Path:
    key = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "verified" / f"{key[:32]}.json"


def _is_remembered(path: Path, sha256: str) -> bool:
    try:
        held = read_json(_entry(path), _ENTRY_BYTES)
    except (OSError, ValueError, CacheError):
        return False
    return bool(held == {**_identity(path), "sha256": sha256})


def _remember(path: Path, sha256: str) -> None:
    try:
        entry = _entry(path)
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=entry.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                json.dump({**_identity(path), "sha256": sha256}, file)
            Path(name).replace(entry)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except (OSError, ValueError, CacheError) as error:
        logger.info("%s will be read again at the next load: %s", path, error)
