"""hnexport-runtime in place: what is built here refers to the modules of this clone instead of holding them."""

import os
from pathlib import Path

from setuptools import build_meta

__all__ = ["build_wheel"]


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """A wheel that leads to the modules where they are."""
    os.chdir(Path(__file__).resolve().parent.parent / "runtime")
    return build_meta.build_editable(wheel_directory)
