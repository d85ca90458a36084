"""Checksums of a bundle's files."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from hnexport.bundle.manifest import FileRecord
from hnexport.errors import BundleError
from hnexport.names import MANIFEST_FILE
from hnexport.reading import MissingFileError, ReadError, open_regular, regular_size

__all__ = ["Listing", "WrittenFiles", "check_files", "check_sizes", "record_file"]


class Listing(Protocol):
    """What lists files with their records: a manifest, or the record of an entry of the cache."""

    @property
    def files(self) -> Mapping[str, FileRecord]:
        """Every file by name."""
        ...


def record_file(path: Path) -> FileRecord:
    """Size in bytes and SHA-256 of a regular file; a symlink stands for what it leads to.

    Raises:
        ReadError: it is missing, something else than a regular file, or cannot be read.
    """
    with open_regular(path) as file:
        try:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ReadError(f"{path} cannot be read: {error.strerror}") from error
        return FileRecord(size_bytes=os.fstat(file.fileno()).st_size, sha256=digest)


class WrittenFiles:
    """The files that a build writes into a folder of its own: each is hashed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records: dict[str, FileRecord] = {}

    def records(self) -> Mapping[str, FileRecord]:
        """Every file of the folder but the manifest, in the order of their names; those that are new are hashed now.

        A file is not to be written again once it is recorded.

        Raises:
            ReadError: as `record_file`.
        """
        for path in self._folder.iterdir():
            if path.name != MANIFEST_FILE and path.name not in self._records:
                self._records[path.name] = record_file(path)
        return dict(sorted(self._records.items()))


def check_sizes(folder: Path, manifest: Listing, names: Iterable[str]) -> None:
    """Compare the sizes of files with their records.

    A symlink is followed wherever it leads, since model hubs store every file so; it has to lead to a regular file.

    Raises:
        BundleError: a file is missing, not in the manifest, not a regular file or of another size; the message names
            it.
    """
    for name in names:
        if name not in manifest.files:
            held = ", ".join(manifest.files)
            raise BundleError(f"{folder} has no {name} in its manifest; it holds {held}")
        try:
            size = regular_size(folder / name)
        except MissingFileError as error:
            raise BundleError(f"{folder / name} is missing; copy the bundle again") from error
        except ReadError as error:
            raise BundleError(f"{error}; copy or build the bundle again") from error
        expected = manifest.files[name].size_bytes
        if size != expected:
            raise BundleError(
                f"{folder / name} is damaged: expected {expected} bytes, found {size}; copy or build the bundle again"
            )


def check_files(folder: Path, manifest: Listing, names: Iterable[str]) -> None:
    """Compare files with their records: the sizes of all first, since that is quick, then the checksums.

    Raises:
        BundleError: a file is missing, not in the manifest, not a regular file, or not what the manifest says; the
            message names it.
    """
    names = list(names)
    check_sizes(folder, manifest, names)
    for name in names:
        try:
            found = record_file(folder / name)
        except ReadError as error:
            raise BundleError(f"{error}; copy or build the bundle again") from error
        if found != manifest.files[name]:
            raise BundleError(
                f"{folder / name} is damaged: expected SHA-256 {manifest.files[name].sha256[:16]}…, "
                f"found {found.sha256[:16]}…; copy or build the bundle again"
            )
