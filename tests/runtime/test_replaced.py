"""A bundle that another takes the place of after it was loaded: members that are made later are its own, or none."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hnexport.errors import BundleError
from hnexport.runtime import LoadedEnsemble, load

LOADED: dict[str, dict[str, Any]] = {
    "onnxruntime": {"strategy": "materialised", "resident_members": 1},
    "onnxruntime-generated": {"strategy": "generated"},
    "openvino": {"engine": "openvino", "strategy": "materialised", "resident_members": 1},
}


def made_later(ensemble: LoadedEnsemble, images: NDArray[np.floating]) -> Any:
    return ensemble.materialise(member=3).predict(images)


@pytest.fixture
def replaced(own_bundle: Path) -> Callable[[], None]:
    """Puts a bundle with other weights into the place of one by renaming, and removes that."""

    def put() -> None:
        other = own_bundle.with_name("other")
        shutil.copytree(own_bundle, other)
        weights = np.fromfile(other / "weights.bin", np.uint8)
        weights[: len(weights) // 4 * 4].view(np.float32)[:] *= np.float32(1.5)
        weights.tofile(other / "weights.bin")
        own_bundle.rename(own_bundle.with_name("old"))
        other.rename(own_bundle)
        shutil.rmtree(own_bundle.with_name("old"))

    return put


@pytest.mark.each_once
@pytest.mark.parametrize("how", LOADED)
def test_a_member_made_after_the_bundle_was_replaced_is_refused(
    own_bundle: Path, replaced: Callable[[], None], images: NDArray[np.float32], how: str
) -> None:
    ensemble = load(own_bundle, provider="cpu", **LOADED[how])
    resident = ensemble.predict(images, member=0)
    replaced()
    with pytest.raises(BundleError, match="was replaced or changed since it was loaded: load it again"):
        made_later(ensemble, images)
    if how.endswith("generated"):
        assert np.array_equal(ensemble.predict(images, member=0), resident)


@pytest.mark.each_once
@pytest.mark.parametrize("how", LOADED)
def test_a_member_made_after_the_bundle_was_removed_is_refused(
    own_bundle: Path, images: NDArray[np.float32], how: str
) -> None:
    ensemble = load(own_bundle, provider="cpu", **LOADED[how])
    shutil.rmtree(own_bundle)
    with pytest.raises(BundleError, match="was replaced or changed since it was loaded: load it again"):
        made_later(ensemble, images)


@pytest.mark.each_once
@pytest.mark.parametrize("how", LOADED)
def test_the_same_bundle_in_its_place_is_the_same(
    own_bundle: Path, shared_bundle: Path, images: NDArray[np.float32], how: str
) -> None:
    ensemble = load(own_bundle, provider="cpu", **LOADED[how])
    shutil.rmtree(own_bundle)
    shutil.copytree(shared_bundle, own_bundle)
    for path in own_bundle.iterdir():
        os.utime(path)
    again = load(shared_bundle, provider="cpu", **LOADED[how])
    assert np.array_equal(made_later(ensemble, images), made_later(again, images))
