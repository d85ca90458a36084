"""Where members' files may be written, and what they may replace: members' files of hnexport, by their marks."""

import zipfile
from pathlib import Path

from hnexport.bundle.onnx_data import read_model
from hnexport.errors import BundleError
from hnexport.member.formats import DATA_SUFFIX, is_member_name
from hnexport.names import MEMBER_MARK
from hnexport.publishing import Contents, Rules, list_tree

__all__ = ["rules"]


def rules(*, force: bool, is_file: bool) -> Rules:
    """The rules for a member's file, or for a folder of such files."""
    judge = _file if is_file else _folder
    return Rules(replaces=judge if force else None, what="member")


def _file(path: Path) -> Contents:
    """Nothing to list, for a file that hnexport wrote of a member.

    Raises:
        BundleError: it is something else.
    """
    if not path.is_file() or not _is_marked(path):
        raise _refused(path, "is no member's file of hnexport")
    return Contents()


def _folder(path: Path) -> Contents:
    """The files of a folder that hnexport wrote.

    Raises:
        BundleError: it holds something else.
    """
    if not path.is_dir():
        raise _refused(path, "is no folder")
    names = list_tree(path)
    for name in names:
        marked = name.endswith(DATA_SUFFIX) or _is_marked(path / name)
        if not (is_member_name(name) and (path / name).is_file() and marked):
            raise _refused(path, f"holds {name}, which is no member's file of hnexport")
    return Contents(ours=frozenset(names))


def _is_marked(path: Path) -> bool:
    try:
        if path.suffix.lower() == ".onnx":
            return any(item.key == MEMBER_MARK for item in read_model(path).metadata_props)
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"/extra/{MEMBER_MARK}") for name in archive.namelist())
    except (BundleError, OSError, ValueError, zipfile.BadZipFile):
        return False


def _refused(path: Path, what: str) -> BundleError:
    own = Rules()
    return BundleError(f"{path} {what}: {own.forced_by} replaces only those; choose another {own.called}")
