"""How `hnexport-runtime` is built: by setuptools; its source distribution holds the modules that a clone has above."""

import tempfile
from pathlib import Path

from setuptools.build_meta import (
    build_editable,
    build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from source_archive import write_archive

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_HERE = Path(__file__).resolve().parent
_MODULES = _HERE if (_HERE / "hnexport").is_dir() else _HERE.parents[2]  # as setup.py has it
_OWN = ("LICENSE", "README.md", "pyproject.toml", "runtime_build.py", "setup.py", "source_archive.py")


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """The package beside what builds it, so that no clone is needed."""
    package = [path for path in (_MODULES / "hnexport").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files = {path.relative_to(_MODULES).as_posix(): path for path in package} | {own: _HERE / own for own in _OWN}
    with tempfile.TemporaryDirectory() as folder:
        name = prepare_metadata_for_build_wheel(folder)
        return write_archive(sdist_directory, files, Path(folder) / name / "METADATA")
