"""The user's cache: graphs made from bundles, each in a folder whose name is a hash of all that it depends on."""

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cache_folder", "keyed_folder"]


def cache_folder() -> Path:
    """Where this user's caches are: `$XDG_CACHE_HOME/hnexport` or the platform's equivalent."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        base = Path(chosen)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "hnexport"


def keyed_folder(kind: str, parts: Iterable[str]) -> Path:
    """The folder of what is made from `parts`; it need not exist."""
    return cache_folder() / kind / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
