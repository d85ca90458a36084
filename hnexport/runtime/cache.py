"""The user's cache: graphs made from bundles, each in a folder whose name is a hash of all that it depends on."""

import contextlib
import errno
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from hnexport.errors import CacheError, HnexportError

__all__ = [
    "CACHE_REMEDY",
    "cache_folder",
    "keyed_folder",
    "require_cache",
    "writing_cache",
]

CACHE_REMEDY = "set XDG_CACHE_HOME to a folder that this user may write, with room"


def cache_folder() -> Path:
    """Where this user's caches are: `$XDG_CACHE_HOME/hnexport` or the platform's equivalent.

    Raises:
        CacheError: this user has no home folder.
    """
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        base = Path(chosen)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    else:
        base = _home() / ".cache"
    return base / "hnexport"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise CacheError(f"there is no cache: this user has no home folder ({error}); {CACHE_REMEDY}") from error


def require_cache() -> None:
    """Refuse where nothing can be kept: for what exists to fill the cache.

    Raises:
        CacheError: there is no home folder, or the folder of the cache cannot be written.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)  # a full disk still makes empty files
    except OSError as error:  # of any folder: one above the cache may be what cannot be made
        raise _unwritable(error) from error


@contextlib.contextmanager
def writing_cache() -> Iterator[None]:
    """Turn what the system says when the cache cannot be written into a sentence with the remedy.

    Raises:
        CacheError: something could not be written (or the work inside ended with an error whose cause is that).
    """
    try:
        yield
    except (OSError, HnexportError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or not _is_about_cache(cause):
            raise
        raise _unwritable(cause) from error


def _unwritable(error: OSError) -> CacheError:
    return CacheError(f"the cache {cache_folder()} cannot be written: {error.strerror or error}; {CACHE_REMEDY}")


def _is_about_cache(error: OSError) -> bool:
    """Whether it says that something could not be written, and not that a bundle could not be read."""
    named, folder = error.filename, cache_folder()
    # A folder above it is named where that one cannot be made: XDG_CACHE_HOME may be a symlink that leads nowhere.
    concerns = isinstance(named, str) and (named.startswith(str(folder)) or Path(named) in folder.parents)
    return concerns or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def keyed_folder(kind: str, parts: Iterable[str]) -> Path:
    """The folder of what is made from `parts`; it need not exist."""
    return cache_folder() / kind / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
