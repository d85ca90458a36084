"""Pictures in every form, and the bundle that scores them."""

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bundles import small_bundle, with_usage
from numpy.typing import NDArray
from PIL import Image
from pyarrow import ipc, parquet
from scoring import DAMAGED, NAMES, OPTIONS, ROWS, ScoreBundle

from hnexport.runtime import load
from hnexport.runtime.uncertainty import EnsemblePrediction
from hnexport.score import score
from hnexport.spec.usage import Normalisation, Usage


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    usage = Usage(normalisation=Normalisation(mean=(0.5,), std=(0.25,)), class_names={"logits": NAMES})
    return with_usage(small_bundle("hypernet"), usage, tmp_path_factory.mktemp("scoring") / "bundle")


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same pictures as a folder with folders, Parquet, Arrow (a file and a stream); one of them is cut."""
    place, random, encoded = tmp_path_factory.mktemp("forms"), np.random.default_rng(0), []
    for number in range(ROWS):
        (folder := place / "photos" / str(number // 40)).mkdir(parents=True, exist_ok=True)
        file = folder / f"{number:03}.png"
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
        if number == DAMAGED:
            file.write_bytes(file.read_bytes()[:50])
        encoded.append(file.read_bytes())
    (place / "photos/.hidden").write_bytes(b"not counted")
    table = pa.table({"id": [f"p{number}" for number in range(ROWS)], "picture": [{"bytes": one} for one in encoded]})
    parquet.write_table(table, place / "rows.parquet", row_group_size=25)
    with ipc.new_file(place / "file.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=21)
    with ipc.new_stream(place / "stream.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=21)
    return {one.name: one for one in place.iterdir()}


@pytest.fixture(scope="session")
def images(forms: dict[str, Path]) -> NDArray[np.float32]:
    """What the graph takes of the pictures; zero for the damaged one."""
    found = np.zeros((ROWS, 3, 8, 8), np.float32)
    for number, file in enumerate(sorted(forms["photos"].glob("[0-9]/*.png"))):
        if number != DAMAGED:
            pixels = np.asarray(Image.open(file)).astype(np.float32) / np.float32(255)
            found[number] = ((pixels - np.float32(0.5)) / np.float32(0.25)).transpose(2, 0, 1)
    return found


@pytest.fixture(scope="session")
def expected(bundle: Path, images: NDArray[np.float32]) -> EnsemblePrediction:
    """What the runtime says of all pictures at once."""
    return load(bundle, provider="cpu").predict_mean(images)


@pytest.fixture
def scored(bundle: Path) -> ScoreBundle:
    return functools.partial(score, bundle, options=OPTIONS)


@pytest.fixture(scope="session")
def whole(bundle: Path, forms: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that one call without a break writes of the folder."""
    out = tmp_path_factory.mktemp("whole") / "whole.parquet"
    score(bundle, forms["photos"], out, options=OPTIONS)
    return out.read_bytes()
