"""Addresses of our own site and repository, wherever they stand in the sources: whether page, anchor and file exist.

Messages, docstrings, templates and READMEs have them, since whoever installed a wheel has no folder `docs`.
"""

import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from urllib.parse import unquote

__all__ = ["address_faults", "tracked_files"]

_ADDRESS = r"[^\s\"'`<>()\[\]{}\\|]*+"  # what a brace goes on is no whole address
_LINES = re.compile(r"L\d+(?:-L\d+)?")  # of a file, as GitHub names them
_NAMES_PAGE = "documented"  # hnexport.names.documented: a page by its name
_UNCHECKED = "tests/"  # which have addresses that lead nowhere, to see them found


def tracked_files(root: Path) -> list[str]:
    """The files of the repository, from its root; every file where there is no git, as in a source archive."""
    if (root / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
        return sorted(name for name in listed.decode().split("\0") if name and (root / name).is_file())
    found = [Path(folder, name).relative_to(root) for folder, _, names in os.walk(root) for name in names]
    return sorted(path.as_posix() for path in found)


def address_faults(
    root: Path,
    site: Path,
    urls: Mapping[str, str],
    ids: Callable[[Path], Set[str]],
    headings: Callable[[Path], Set[str]],
) -> list[str]:
    """Addresses of ours that lead nowhere.

    Args:
        root: of the repository.
        site: the built pages.
        urls: of the project, as pyproject.toml has them.
        ids: the anchors of a built page.
        headings: those of a Markdown file, as GitHub makes them.
    """
    files, faults = tracked_files(root), []
    pages = re.compile(rf"{re.escape(urls['Documentation'].rstrip('/'))}(?![\w.-])({_ADDRESS})(?!{{)")
    repository = re.compile(rf"{re.escape(urls['Repository'])}/(?:blob|raw|tree)/main/({_ADDRESS})(?!{{)")
    known = {*files, *(str(parent) for name in files for parent in Path(name).parents)}
    for name in files:
        text = _text(root / name)
        if text is None or name.startswith(_UNCHECKED):
            continue
        named = list(_named(text)) if name.endswith(".py") else []
        for address in [_whole(found[1]) for found in pages.finditer(text)] + named:
            fault = _page_fault(address, site, ids)
            faults += [f"{name}: {urls['Documentation']}{address.lstrip('/')} {fault}"] if fault else []
        for address in [_whole(found[1]) for found in repository.finditer(text)]:
            fault = _file_fault(address, root, known, headings)
            faults += [f"{name}: {address} {fault}"] if fault else []
    return faults


def _page_fault(address: str, site: Path, ids: Callable[[Path], Set[str]]) -> str:
    path, _, anchor = address.partition("#")
    page = site / unquote(path.partition("?")[0]).lstrip("/")
    page = page / "index.html" if page.is_dir() else page
    if not page.is_file():
        return "does not exist"
    return "has no such anchor" if anchor and unquote(anchor) not in ids(page) else ""


def _file_fault(address: str, root: Path, known: Set[str], headings: Callable[[Path], Set[str]]) -> str:
    path, _, anchor = address.partition("#")
    path = unquote(path.partition("?")[0]).rstrip("/")
    if path not in known:
        return "is no file of the repository"
    if not anchor or _LINES.fullmatch(anchor):
        return ""
    return "" if path.endswith(".md") and unquote(anchor) in headings(root / path) else "has no such heading"


def _named(text: str) -> Iterator[str]:
    """The pages that a module names: `documented("howto/from#a-heading")`."""
    for node in ast.walk(ast.parse(text)) if _NAMES_PAGE in text else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == _NAMES_PAGE and node.args:
            page = node.args[0]
            if isinstance(page, ast.Constant) and isinstance(page.value, str):
                name, mark, anchor = page.value.partition("#")
                yield f"{name}.html{mark}{anchor}"


def _whole(address: str) -> str:
    """An address without what ends the sentence around it."""
    return address.rstrip(".,;:!?*")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
