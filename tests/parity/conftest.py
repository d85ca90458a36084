"""Bundles that are built once; a test that tampers takes a copy."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import small_bundle


@pytest.fixture(scope="session")
def pristine() -> Callable[[str], Path]:
    """A small bundle of a kind; see `bundles.KINDS`. Not to be changed."""
    return functools.cache(small_bundle)


@pytest.fixture
def copied(pristine: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a small bundle, to be tampered with."""

    def get(kind: str) -> Path:
        return Path(shutil.copytree(pristine(kind), tmp_path / kind))

    return get
