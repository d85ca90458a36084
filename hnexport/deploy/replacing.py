"""What `deploy` may replace: a site that it wrote, and nothing that somebody else put into it."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from hnexport import __version__
from hnexport.errors import DeployError
from hnexport.publishing import Contents, Rules, list_tree
from hnexport.reading import ReadError, read_json

__all__ = ["SITE_FILE", "record", "site_rules"]

SITE_FILE = "site.json"
_SCHEMA = "hnexport-site"
_MOST_BYTES = 16 * 2**20


def record(names: Iterable[str], page: Any) -> dict[str, Any]:
    """What `site.json` holds: the site's other files, and what the page is told."""
    return {"schema": _SCHEMA, "schema_version": 1, "hnexport": __version__, "files": sorted(names), "page": page}


def site_rules(*, force: bool) -> Rules:
    """The rules for a site: with `force`, another site or an empty folder is replaced."""
    return Rules(replaces=_contents if force else None, error=DeployError, what="site")


def _contents(folder: Path) -> Contents:
    """What of a folder is a site's.

    Raises:
        DeployError: it is no site, or holds what its `site.json` does not list.
    """
    rules = site_rules(force=False)
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        return Contents()
    listed = _listed(folder)
    if listed is None:
        raise DeployError(
            f"{folder} exists and is not a site of hnexport: {rules.forced_by} replaces only those; choose another "
            f"{rules.called}"
        )
    folders = {str(parent) for name in listed for parent in PurePosixPath(name).parents} - {"."}
    tree = list_tree(folder)
    foreign = next((name for name in sorted(tree) if Path(name).as_posix() not in listed | folders), None)
    if foreign is not None:
        raise DeployError(
            f"{folder} holds {foreign}, which its {SITE_FILE} does not list: {rules.forced_by} replaces only what "
            f"hnexport wrote; move it away, or choose another {rules.called}"
        )
    return Contents(ours=frozenset(tree))


def _listed(folder: Path) -> frozenset[str] | None:
    """The names in a `site.json` of ours, and its own; None where there is none."""
    try:
        value = read_json(folder / SITE_FILE, _MOST_BYTES)
    except ReadError:
        return None
    files = value.get("files") if isinstance(value, dict) and value.get("schema") == _SCHEMA else None
    return frozenset({SITE_FILE, *map(str, files)}) if isinstance(files, list) else None
