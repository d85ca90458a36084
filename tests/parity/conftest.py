"""Bundles that are built once; a test that tampers takes a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundles import build_small


@pytest.fixture(autouse=True, scope="session")
def _one_thread_for_parity() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small bundle of a kind; see `bundles.KINDS`. Not to be changed."""
    root, built = tmp_path_factory.mktemp("bundles"), {}

    def get(kind: str) -> Path:
        if kind not in built:
            built[kind] = build_small(root / kind, kind)
        return built[kind]

    return get


@pytest.fixture
def copied(pristine: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a small bundle, to be tampered with."""

    def get(kind: str) -> Path:
        return Path(shutil.copytree(pristine(kind), tmp_path / kind))

    return get
