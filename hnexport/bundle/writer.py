"""Where a bundle may be written, and what it may replace: a bundle, and nothing that somebody else put into it."""

import os
import stat
from pathlib import Path

from hnexport.bundle.card import is_as_made
from hnexport.bundle.manifest import MAX_MANIFEST_BYTES, SCHEMA
from hnexport.errors import BundleError
from hnexport.names import CARD_FILE, MANIFEST_FILE
from hnexport.publishing import Contents, Rules, check_place, list_tree, staged_folder, sweep
from hnexport.reading import ReadError, read_json

__all__ = ["HUB_FILES", "bundle_contents", "bundle_rules", "check_another", "check_target", "staged_folder"]

HUB_FILES = (CARD_FILE, ".gitattributes", ".cache")
"""What model hubs add to a bundle: carried over when it is replaced, but for a card that is as hnexport made it."""


def bundle_rules(*, force: bool) -> Rules:
    """The rules for a bundle: with `force`, another bundle or an empty folder is replaced."""
    return Rules(replaces=bundle_contents if force else None)


def check_target(target: Path, *, force: bool, needed_bytes: int) -> None:
    """Refuse early what would fail late.

    Raises:
        BundleError: the target exists and `force` is not set, or it is not a bundle; it is a symbolic link; its parent
            cannot be written to, or the disk is too full.
    """
    check_place(target, bundle_rules(force=force), needed_bytes=needed_bytes)


def check_another(bundle: Path, target: Path) -> None:
    """Refuse a bundle as the place of what is derived from it, also where it may be replaced: it stays as it is.

    Raises:
        BundleError: `target` is `bundle`.
    """
    if os.path.realpath(target) == os.path.realpath(bundle):
        raise BundleError(f"{target} is the bundle itself, which stays as it is: choose another {Rules().called}")


def bundle_contents(folder: Path) -> Contents:
    """What of a folder the build wrote, and what model hubs added; an empty folder holds neither.

    A bundle is one by its manifest's schema, also where it is damaged or of another version.

    Raises:
        BundleError: it is not a bundle, or it holds what its manifest does not list.
    """
    rules = Rules()
    try:
        is_folder = stat.S_ISDIR(folder.lstat().st_mode)
        if is_folder and not any(folder.iterdir()):
            return Contents()
        listed = _listed_files(folder) if is_folder else None
        if listed is None:
            raise BundleError(
                f"{folder} exists and is not a bundle: {rules.forced_by} replaces only bundles; "
                f"choose another {rules.called}"
            )
        sweep(folder)  # what a writer of the model card that died left there
        tree = list_tree(folder)
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror}; choose another {rules.called}") from error
    made = {CARD_FILE} if CARD_FILE in tree and is_as_made(folder / CARD_FILE) else set()
    kept = frozenset(name for name in tree if Path(name).parts[0] in HUB_FILES and name not in listed | made)
    ours = frozenset(name for name in tree if name in listed | made and _is_file_or_link(folder / name))
    foreign = sorted(set(tree) - kept - ours)
    if foreign:
        raise BundleError(
            f"{folder} holds {foreign[0]}, which its manifest does not list: {rules.forced_by} replaces only what a "
            f"build wrote; move it away, or choose another {rules.called}"
        )
    return Contents(ours=ours, kept=kept)


def _listed_files(folder: Path) -> frozenset[str] | None:
    """The names in a manifest of ours, and its own; None where there is none."""
    try:
        value = read_json(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    except ReadError:
        return None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        return None
    files = value.get("files")
    return frozenset({MANIFEST_FILE, *(files if isinstance(files, dict) else ())})


def _is_file_or_link(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
