"""A real server where `make triton-test` brought one, without which its tests do not run."""

from pathlib import Path

import pytest
from bundles import saying, small_bundle
from triton_server import ENVIRONMENT, ONNXRUNTIME

from hnexport.spec.usage import Normalisation


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without = [item for item in items if _is_without_server(item)]
    items[:] = [item for item in items if item not in without]
    config.hook.pytest_deselected(items=without)


def _is_without_server(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("triton")
    return marker is not None and not (ENVIRONMENT and (ONNXRUNTIME or "onnxruntime" not in marker.args))


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of images that says how they are normalised, and what the classes are called."""
    folder = tmp_path_factory.mktemp("named") / "bundle"
    names = tuple(f"kind {one}" for one in range(10))
    said = Normalisation(mean=(0.4,), std=(0.25, 0.5, 1.0))
    return saying(small_bundle("hypernet"), folder, class_names={"logits": names}, normalisation=said)
