"""Entries of the user's cache: what each was made for, and whether it is whole; the standard is that of bundles."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hnexport.bundle.manifest import FileRecord
from hnexport.errors import BundleError
from hnexport.reading import MissingFileError, ReadError, read_json
from hnexport.records import RecordError, from_json
from hnexport.runtime.options import Checksums
from hnexport.runtime.verified import verify_files

__all__ = ["CacheEntry", "CacheRecord"]

logger = logging.getLogger(__name__)

_RECORD_BYTES = 2**20  # a record is a few hundred


@dataclass(frozen=True, kw_only=True)
class CacheRecord:
    """What an entry was made for, and what its verification found.

    Attributes:
        key: the name of its folder.
        made_for: the versions, and the processor where it matters, as they were.
        files: every file of the entry but its record, by name.
        relative_l2: largest relative L2 error of a row of an output against the float64 reference.
    """

    key: str
    bundle: str
    made_for: str
    files: Mapping[str, FileRecord]
    relative_l2: float


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One entry: its folder, the file with its record, and the files that it must have."""

    folder: Path
    record_file: str
    files: tuple[str, ...]

    def is_whole(self) -> bool:
        """Whether it is there with its record, and every file is what the record says, by size and SHA-256.

        Large files are read once and remembered, as those of bundles are.
        """
        try:
            record = self._record()
            if record.key != self.folder.name or set(record.files) != set(self.files):
                raise BundleError(f"{self.folder / self.record_file} is of another entry")
            verify_files(self.folder, record, self.files, Checksums.REMEMBERED)
        except MissingFileError:
            return False
        except (OSError, ReadError, RecordError, BundleError) as error:
            if isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError):
                logger.warning("what the cache holds is not used, this user may not read it: %s", error)
                return False
            logger.warning("a damaged entry of the cache is not used, `hnexport tune` makes it again: %s", error)
            return False
        return True

    def _record(self) -> CacheRecord:
        return from_json(CacheRecord, read_json(self.folder / self.record_file, _RECORD_BYTES))
