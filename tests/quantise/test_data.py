"""Samples that say nothing are refused, with what is wrong with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shared import Built

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.targets import ReadOptions
from hnexport.quantise.data import drawn_samples, read_calibration


@pytest.fixture
def images(built: Built) -> NDArray[Any]:
    shape = built.manifest.signature.inputs[0].shape[1:]
    return np.random.default_rng(5).normal(size=(6, *shape)).astype(np.float32)


def test_samples_with_nan_are_refused_wherever_they_fall(built: Built, images: NDArray[Any], tmp_path: Path) -> None:
    images[4].flat[0] = np.nan
    np.savez(tmp_path / "images.npz", image=images)
    for read in (
        lambda: read_calibration(tmp_path / "images.npz", built.manifest, ReadOptions(), 2),
        lambda: read_calibration(tmp_path / "images.npz", built.manifest, ReadOptions(), 6),
        lambda: drawn_samples(tmp_path / "images.npz", built.manifest, ReadOptions()),
    ):
        with pytest.raises(RuntimeInputError, match="image of a sample holds NaN"):
            read()


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 99], [0, 1, 2], [0.5] * 6], ids=["unknown", "few", "halves"])
def test_wrong_labels_are_said_and_not_left_out(
    labels: list[Any], built: Built, images: NDArray[Any], tmp_path: Path
) -> None:
    np.savez(tmp_path / "images.npz", image=images, label=np.array(labels))
    with pytest.raises(RuntimeInputError, match="label|target|class"):
        read_calibration(tmp_path / "images.npz", built.manifest, ReadOptions(), 2)
    np.savez(tmp_path / "images.npz", image=images)
    assert read_calibration(tmp_path / "images.npz", built.manifest, ReadOptions(), 2).targets is None
