"""Where something may be published, and what it may replace there."""

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hnexport.errors import BundleError, HnexportError
from hnexport.names import MANIFEST_FILE
from hnexport.publishing.container import sweep
from hnexport.publishing.contents import Contents
from hnexport.reading import ReadError, read_json
from hnexport.spelling import spelled

__all__ = ["Rules", "check_place", "what_is_at"]

_BUNDLE_SCHEMA = "hnexport-bundle"
_MOST_BYTES = 16 * 2**20  # of a manifest


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a place is used.

    Attributes:
        replaces: what the thing at a path holds, or an error that says why it may not be replaced; it may be called
            again, on the same thing elsewhere. None: nothing is replaced.
        error: what is raised.
        called: what the user gave the place as.
        what: what is published, in one word.
        forced_by: what the user types to have something replaced; empty where nothing does.
        in_bundles: it may lie in a bundle: no manifest lists it.
    """

    replaces: Callable[[Path], Contents] | None = None
    error: type[HnexportError] = BundleError
    called: str = field(default_factory=lambda: spelled("target", "--out"))
    what: str = "bundle"
    forced_by: str = field(default_factory=lambda: spelled("force=True", "--force"))
    in_bundles: bool = False

    @property
    def remedy(self) -> str:
        """What to type where something is at the place already."""
        choose = f"choose another {self.called}"
        return f"{choose}, or give {self.forced_by} to replace it" if self.forced_by else choose


def check_place(target: Path, rules: Rules | None = None, *, make_parent: bool = True, needed_bytes: int = 0) -> None:
    """Refuse before the work what would be refused after it.

    Args:
        make_parent: make the folder that holds `target` where it is missing.

    Raises:
        BundleError (or as `rules` say): `target` has no name of its own, is a symbolic link or a mount point, holds
            what may not be replaced, or lies in a bundle; its parent cannot be written to, or the disk is too full.
    """
    rules = rules or Rules()
    enclosing = next(filter(_is_bundle, Path(os.path.realpath(target)).parents), None)
    if enclosing is not None and not rules.in_bundles:
        raise rules.error(
            f"{target} lies in the bundle {enclosing}, which never changes: choose another {rules.called}"
        )
    sweep(target.parent)  # it may bring back what was there
    if target.name in ("", ".", ".."):
        raise rules.error(f"{target} has no name of its own: give {rules.called} as the name of what is to be written")
    found = what_is_at(target, rules)
    if found == "a symbolic link":
        raise rules.error(
            f"{target} is a symbolic link to {os.readlink(target)}: give what it points to as {rules.called}"
        )
    if found is not None and rules.replaces is None:
        raise rules.error(f"{target} exists: {rules.remedy}")
    if found is not None and rules.replaces is not None:
        rules.replaces(target)
        if os.path.ismount(target):
            raise rules.error(f"{target} is a mount point, which nothing can take the place of: name a folder in it")
    _check_parent(target.parent, rules, make_parent, needed_bytes)


def _is_bundle(folder: Path) -> bool:
    try:
        value = read_json(folder / MANIFEST_FILE, _MOST_BYTES)
    except (ReadError, OSError):
        return False
    return isinstance(value, dict) and value.get("schema") == _BUNDLE_SCHEMA


def _check_parent(parent: Path, rules: Rules, make: bool, needed_bytes: int) -> None:
    try:
        if make:
            parent.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(parent).free
        writable = os.access(parent, os.W_OK | os.X_OK)
    except OSError as error:
        raise unwritable(parent, rules, error.strerror) from error
    if not writable:
        raise unwritable(parent, rules, "Permission denied")
    if free_bytes < needed_bytes:
        raise rules.error(
            f"{parent} has {free_bytes / 1e6:.0f} MB free, the {rules.what} needs about {needed_bytes / 1e6:.0f} MB: "
            f"free some space or choose another {rules.called}"
        )


def unwritable(parent: Path, rules: Rules, reason: str | None) -> HnexportError:
    """The error for a folder in which nothing can be made."""
    return rules.error(f"{parent} cannot be written to: {reason}; choose another {rules.called}")


def what_is_at(path: Path, rules: Rules) -> str | None:
    """What is at a path, in words; None for nothing. Links are not followed.

    Raises:
        BundleError (or as `rules` say): no such path can be.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise unwritable(path.parent, rules, error.strerror) from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise rules.error(f"{path} cannot be used: {reason}; choose another {rules.called}") from error
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a folder"), (stat.S_ISREG, "a file"))
    return next((words for test, words in kinds if test(mode)), "a device or a pipe")
