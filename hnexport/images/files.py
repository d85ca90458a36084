"""Opening a user's file: only regular files, so that nothing waits for a writer or a device."""

import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hnexport.errors import RuntimeInputError

__all__ = ["open_regular", "shorten", "warnings_logged"]

logger = logging.getLogger(__name__)

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_LONGEST_REASON = 300
_warnings_lock = threading.Lock()  # the filters that `catch_warnings` puts back are those of the whole process


def open_regular(path: Path, what: str) -> BinaryIO:
    """The file, open for reading; links are followed.

    Args:
        what: what it is to be read as, for the message: "an image".

    Raises:
        RuntimeInputError: it does not exist, cannot be opened, or is a folder, a named pipe or a device.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        _require_regular(path, what, os.stat(path).st_mode)  # opening a device may already do something
        file = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if isinstance(error, RuntimeInputError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RuntimeInputError(f"{path} cannot be read as {what}: {reason}") from error
    try:
        _require_regular(path, what, os.fstat(file.fileno()).st_mode)
    except RuntimeInputError:
        file.close()
        raise
    return file


def shorten(reason: object) -> str:
    """A library's words on a damaged file, which may quote all of it, in one short line."""
    text = " ".join(str(reason).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


@contextmanager
def warnings_logged(path: Path) -> Iterator[None]:
    """A library's warnings (odd metadata, an old header) as log lines: what makes a file unusable is an error."""
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for one in caught:
                logger.info("%s: %s", path, shorten(one.message))


def _require_regular(path: Path, what: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file")
        raise RuntimeInputError(f"{path} cannot be read as {what}: it is {kind}; give a file")
