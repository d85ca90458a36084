"""A user's file: opened where it is a regular one, and what libraries warn of in it is logged."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hnexport.errors import RuntimeInputError
from hnexport.reading import OpenError, open_regular
from hnexport.text import shorten

__all__ = ["open_file", "warnings_logged"]

logger = logging.getLogger(__name__)

_warnings_lock = threading.Lock()  # the filters that `catch_warnings` puts back are those of the whole process


def open_file(path: Path, what: str) -> BinaryIO:
    """A regular file, open for reading; links are followed.

    Args:
        what: what it is to be read as, for the message: "an image".

    Raises:
        RuntimeInputError: it does not exist, cannot be opened, or is a folder, a FIFO or a device.
    """
    try:
        return open_regular(path)
    except OpenError as error:
        raise RuntimeInputError(f"{path} cannot be read as {what}: it {error.reason}") from error


@contextmanager
def warnings_logged(path: Path | str) -> Iterator[None]:
    """A library's warnings (odd metadata, an old header) as log lines: what makes a file unusable is an error."""
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for one in caught:
                logger.info("%s: %s", path, shorten(one.message))
