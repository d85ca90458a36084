"""Checksums of a bundle's files."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from hnexport.bundle.manifest import FileRecord
from hnexport.errors import BundleError

__all__ = ["Listing", "check_files", "check_sizes", "record_file"]


class Listing(Protocol):
    """What lists files with their records: a manifest, or the record of an entry of the cache."""

    @property
    def files(self) -> Mapping[str, FileRecord]:
        """Every file by name."""
        ...


def record_file(path: Path) -> FileRecord:
    """Size in bytes and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(size_bytes=path.stat().st_size, sha256=digest)


def check_sizes(folder: Path, manifest: Listing, names: Iterable[str]) -> None:
    """Compare the sizes of files with their records.

    Raises:
        BundleError: a file is missing, not in the manifest, or of another size; the message names it.
    """
    for name in names:
        if name not in manifest.files:
            held = ", ".join(manifest.files)
            raise BundleError(f"{folder} has no {name} in its manifest; it holds {held}")
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise BundleError(f"{folder / name} is missing ({error.strerror}); copy the bundle again") from error
        expected = manifest.files[name].size_bytes
        if size != expected:
            raise BundleError(
                f"{folder / name} is damaged: expected {expected} bytes, found {size}; copy or build the bundle again"
            )


def check_files(folder: Path, manifest: Listing, names: Iterable[str]) -> None:
    """Compare files with their records: the sizes of all first, since that is quick, then the checksums.

    Raises:
        BundleError: a file is missing, not in the manifest, or not what the manifest says; the message names it.
    """
    names = list(names)
    check_sizes(folder, manifest, names)
    for name in names:
        found = record_file(folder / name)
        if found != manifest.files[name]:
            raise BundleError(
                f"{folder / name} is damaged: expected SHA-256 {manifest.files[name].sha256[:16]}…, "
                f"found {found.sha256[:16]}…; copy or build the bundle again"
            )
