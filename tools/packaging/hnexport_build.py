"""How `hnexport` is built: no files, its dependencies, and hnexport-runtime, which has the code and the command.

Both distributions have the same version, and neither needs a package index: from a clone, `pip install .` takes
hnexport-runtime from the folder beside this file, and `pip install --editable .` takes it in place. A wheel that is
built with `--config-settings runtime=released`, as `make wheels` does, asks for that version by name instead.

Everything but the dependencies is setuptools' work; they are given to it as a `setup.py` would give them.
"""

import contextlib
import functools
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import setuptools
from setuptools import build_meta
from setuptools.build_meta import get_requires_for_build_wheel
from setuptools.build_meta import get_requires_for_build_wheel as get_requires_for_build_editable

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_HERE = Path(__file__).resolve().parent
_CONFIGURATION = tomllib.loads((_HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))

Settings = dict[str, Any] | None


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """The metadata of a wheel."""
    with _depending_on("runtime", config_settings):
        return build_meta.prepare_metadata_for_build_wheel(metadata_directory)


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """A wheel."""
    with _depending_on("runtime", config_settings):
        return build_meta.build_wheel(wheel_directory, None, metadata_directory)


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Settings = None) -> str:
    """The metadata of a wheel for development."""
    with _depending_on("editable", config_settings):
        return build_meta.prepare_metadata_for_build_wheel(metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """A wheel for development: it has no files either."""
    with _depending_on("editable", config_settings):
        return build_meta.build_wheel(wheel_directory, None, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Refused: a source distribution of `hnexport` would hold no sources."""
    raise NotImplementedError("hnexport is published as two wheels: `make wheels` writes them")


@contextlib.contextmanager
def _depending_on(folder: str, config_settings: Settings) -> Iterator[None]:
    """Let setuptools know the dependencies, and build where nothing lies that an older version built."""
    if (config_settings or {}).get("runtime") == "released":
        runtime = f"hnexport-runtime=={_version()}"
    else:
        runtime = f"hnexport-runtime @ {(_HERE / folder).as_uri()}"
    listed, setup = _CONFIGURATION["tool"]["hnexport"]["dependencies"], setuptools.setup
    with tempfile.TemporaryDirectory() as base:
        options = {"build": {"build_base": base}}
        setuptools.setup = functools.partial(setup, install_requires=[runtime, *listed], options=options)
        try:
            yield
        finally:
            setuptools.setup = setup


def _version() -> str:
    from setuptools.config.expand import read_attr

    return str(read_attr(_CONFIGURATION["tool"]["setuptools"]["dynamic"]["version"]["attr"], root_dir=_HERE.parents[1]))
