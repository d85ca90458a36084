"""The bundle of a small ensemble that is trained on digits."""

from pathlib import Path

import numpy as np
import pytest
from digits import Split, TrainedDigits, splits
from shared import Built, built_kind


@pytest.fixture(scope="session")
def digits() -> Built:
    return built_kind("digits", TrainedDigits())


@pytest.fixture(scope="session")
def tested() -> Split:
    return splits()[2]


@pytest.fixture
def archive(tmp_path: Path, tested: Split) -> Path:
    """The digits to test with, as a `.npz` file."""
    np.savez(tmp_path / "test.npz", input=tested.images, label=tested.labels)
    return tmp_path / "test.npz"
