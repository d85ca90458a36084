"""Finished parts: files in a folder beside the predictions, each renamed into place once it is whole.

The folder belongs to one plan, `plan.json`, and to one process at a time, which holds its lock. Whatever ends that
process, what has a part's name is a part, and what has not is swept.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hnexport.errors import RuntimeInputError
from hnexport.publishing.contents import sync
from hnexport.publishing.locks import try_lock
from hnexport.score.plan import METADATA_KEY, Part, Plan, difference, parsed
from hnexport.spelling import spelled
from hnexport.text import shorten

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Parts", "parts_folder", "plan_of_parts"]

_PLAN, _LOCK, _UNFINISHED = "plan.json", "lock", ".unfinished"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def parts_folder(out: Path) -> Path:
    """Where the parts of a file are until it is whole."""
    return out.with_name(f"{out.name}.parts")


def plan_of_parts(out: Path) -> Plan | None:
    """The plan of the parts that are there; None where there are none."""
    try:
        return parsed((parts_folder(out) / _PLAN).read_bytes())
    except OSError:
        return None


class Parts:
    """The parts of one file; made by `Parts.opened`."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self._plan = folder, plan

    @classmethod
    @contextmanager
    def opened(cls, out: Path, plan: Plan) -> Iterator["Parts"]:
        """Those that are there already, if they are of the same plan; nobody else has them meanwhile.

        Raises:
            RuntimeInputError: they are of another plan, another process is at work, or the folder cannot be written.
        """
        parts = cls(parts_folder(out), plan)
        try:
            parts.folder.mkdir(exist_ok=True)
            handle = parts._locked()
        except OSError as error:
            parts._refuse(error)
        try:
            parts._begin()
            yield parts
        finally:
            os.close(handle)

    def done(self) -> set[int]:
        """The numbers of the parts that are whole."""
        return {part.number for part in self._plan.parts if self._is_whole(part)}

    def write(self, part: Part, content: bytes) -> None:
        """Put a part into its place.

        Raises:
            RuntimeInputError: the disk is full, or the folder cannot be written; the other parts stay.
        """
        self._put(self._path(part), content)

    def table(self, part: Part) -> "pyarrow.Table":
        """The rows of a part.

        Raises:
            RuntimeInputError: it is damaged, and removed: the same call scores its rows again.
        """
        from pyarrow import ArrowException, parquet

        path = self._path(part)
        try:
            with parquet.ParquetFile(path, memory_map=False, page_checksum_verification=True) as file:
                return file.read(use_threads=False)
        except (OSError, ArrowException) as error:
            path.unlink(missing_ok=True)
            raise RuntimeInputError(
                f"{path} was damaged after it was written, and is removed: give the same again, which scores its "
                f"rows again ({shorten(error)})"
            ) from error

    def remove(self) -> None:
        """Remove what this class has written, and the folder if nothing else is in it."""
        for path in [*(self._path(part) for part in self._plan.parts), self.folder / _PLAN, self.folder / _LOCK]:
            path.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise

    def _path(self, part: Part) -> Path:
        return self.folder / f"part-{part.number:07}.parquet"

    def _locked(self) -> int:
        """An open file that holds the lock of a folder that is still there."""
        path = self.folder / _LOCK
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            if not try_lock(handle):
                os.close(handle)
                raise RuntimeInputError(
                    f"{self.folder} is in use by another process, or lies where files cannot be locked: wait for it, "
                    f"or choose another {spelled('target', '--out')}"
                )
            try:
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
            except FileNotFoundError:  # whoever held it has finished, and removed the folder
                self.folder.mkdir(exist_ok=True)
            os.close(handle)

    def _begin(self) -> None:
        """Take up what is there, or make a beginning."""
        held = sorted(path.name for path in self.folder.iterdir() if path.name != _LOCK)
        for name in held:
            if name.endswith(_UNFINISHED):
                (self.folder / name).unlink()
        path = self.folder / _PLAN
        if path.exists():
            before = parsed(path.read_bytes())
            told = "another plan" if before is None else difference(before, self._plan)
            if told:
                raise RuntimeInputError(
                    f"{self.folder} holds parts of a run with {told}: give the same again, choose another "
                    f"{spelled('target', '--out')}, or remove {self.folder} to begin anew"
                )
            return
        other = next((name for name in held if not name.endswith(_UNFINISHED)), None)
        if other is not None:
            raise RuntimeInputError(
                f"{self.folder} is where finished parts go, and holds {other} already: remove it, or choose another "
                f"{spelled('target', '--out')}"
            )
        self._put(path, self._plan.text.encode())

    def _is_whole(self, part: Part) -> bool:
        from pyarrow import ArrowException, parquet

        try:
            held = parquet.read_metadata(self._path(part))
        except (FileNotFoundError, ArrowException):
            return False
        own = parsed((held.metadata or {}).get(METADATA_KEY, b""))
        return held.num_rows == part.stop - part.start and own is not None and not difference(own, self._plan)

    def _put(self, path: Path, content: bytes) -> None:
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            sync(path.parent)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            self._refuse(error)

    def _refuse(self, error: OSError) -> NoReturn:
        if error.errno in _FULL:
            raise RuntimeInputError(
                f"{self.folder} is full: {error.strerror}; what is scored stays, free some space and "
                "give the same again"
            ) from error
        raise RuntimeInputError(
            f"{self.folder} cannot be written to: {error.strerror}; choose another {spelled('target', '--out')}"
        ) from error
