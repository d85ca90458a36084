"""How `hnexport` is built: no files, its dependencies, and hnexport-runtime, which has the code and the command.

Both distributions have the same version, and neither needs a package index: from a clone, `pip install .` takes
hnexport-runtime from the folder beside this file, and `pip install --editable .` takes it in place. A wheel that is
built with `--config-settings runtime=released`, as `make wheels` does, or from a source distribution, asks for that
version by name instead. The source distribution is the whole clone.

What differs from setuptools is given to it as a `setup.py` would give it: dependencies, and the README with addresses
in the place of its relative links, which lead nowhere on an index.
"""

import contextlib
import functools
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import setuptools
from setuptools import build_meta
from source_archive import write_archive

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_CONFIGURATION = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_RELATIVE_LINK = re.compile(r"(?P<image>!?)(?P<text>\[[^\]]*\])\((?![a-z]+:|#)(?P<path>[^)\s]+)\)")

Settings = dict[str, Any] | None


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """The metadata of a wheel."""
    with _told("runtime", config_settings):
        return build_meta.prepare_metadata_for_build_wheel(metadata_directory)


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """A wheel."""
    with _told("runtime", config_settings):
        return build_meta.build_wheel(wheel_directory, None, metadata_directory)


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Settings = None) -> str:
    """The metadata of a wheel for development."""
    with _told("editable", config_settings):
        return build_meta.prepare_metadata_for_build_wheel(metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """A wheel for development: it has no files either."""
    with _told("editable", config_settings):
        return build_meta.build_wheel(wheel_directory, None, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """The whole clone: modules, tests, documentation, examples, tools and what builds both distributions."""
    with tempfile.TemporaryDirectory() as folder:
        name = prepare_metadata_for_build_wheel(folder, {"runtime": "released"})
        return write_archive(sdist_directory, {path: _ROOT / path for path in _files()}, Path(folder, name, "METADATA"))


def _files() -> list[str]:
    """What git tracks; without git, as in a source distribution, what `.gitignore` does not name."""
    if (_ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, check=True).stdout
        return [name for name in listed.decode().split("\0") if name and (_ROOT / name).is_file()]
    ignored = [line.strip().rstrip("/") for line in (_ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    paths = (path.relative_to(_ROOT) for path in _ROOT.rglob("*") if path.is_file())
    kept = (path for path in paths if not any(fnmatchcase(part, name) for part in path.parts for name in ignored))
    return [path.as_posix() for path in kept if path.as_posix() != "PKG-INFO"]


@contextlib.contextmanager
def _told(folder: str, config_settings: Settings) -> Iterator[None]:
    """Let setuptools know what it is not configured with, and build where nothing lies that an older version built.

    Args:
        folder: where hnexport-runtime is taken from, unless its released version is asked for.
    """
    released = (config_settings or {}).get("runtime") == "released"
    if released or (folder == "runtime" and (_ROOT / "PKG-INFO").exists()):
        runtime = f"hnexport-runtime=={_version()}"
    else:
        runtime = f"hnexport-runtime @ {(_HERE / folder).as_uri()}"
    with tempfile.TemporaryDirectory() as base:
        setup = setuptools.setup
        setuptools.setup = functools.partial(
            setup,
            install_requires=[runtime, *_CONFIGURATION["tool"]["hnexport"]["dependencies"]],
            long_description=_readme(_version()),
            long_description_content_type="text/markdown",
            options={"build": {"build_base": base}},
        )
        try:
            yield
        finally:
            setuptools.setup = setup


def _readme(version: str) -> str:
    """README.md as an index shows it: links lead to the files of this version, pictures are taken from there."""
    repository = _CONFIGURATION["project"]["urls"]["Repository"]
    revision = "main" if "dev" in version else f"v{version}"

    def absolute(link: re.Match[str]) -> str:
        kind = "raw" if link["image"] else "blob"
        return f"{link['image']}{link['text']}({repository}/{kind}/{revision}/{link['path']})"

    return _RELATIVE_LINK.sub(absolute, (_ROOT / "README.md").read_text(encoding="utf-8"))


def _version() -> str:
    from setuptools.config.expand import read_attr

    return str(read_attr(_CONFIGURATION["tool"]["setuptools"]["dynamic"]["version"]["attr"], root_dir=_ROOT))
