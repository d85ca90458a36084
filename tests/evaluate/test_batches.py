"""Data in parts are the data: batches give the same samples and the same evaluation, and name what is damaged."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from digits import Split
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet
from shared import Built

from hnexport.datasets import sizes
from hnexport.errors import RuntimeInputError
from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.evaluate.data import read_data
from hnexport.evaluate.targets import ReadOptions
from hnexport.spec.usage import Normalisation

PICTURES = ReadOptions(pictures={"normalisation": Normalisation()})


Forms = tuple[dict[str, Path], NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture
def forms(tmp_path: Path, tested: Split) -> Forms:
    """The same 40 digits in every form."""
    pixels = np.round(tested.images[:40, 0] * 255).astype(np.uint8)
    images, labels = (pixels / np.float32(255))[:, np.newaxis], tested.labels[:40]
    order = np.argsort(labels, kind="stable")
    pixels, images, labels = pixels[order], images[order], labels[order]
    np.savez(tmp_path / "plain.npz", input=images, label=labels)
    np.savez_compressed(tmp_path / "compressed.npz", label=labels, input=images)
    np.savez(tmp_path / "fortran.npz", input=np.asfortranarray(images), label=labels)
    encoded = []
    for number, (one, label) in enumerate(zip(pixels, labels, strict=True)):
        (place := tmp_path / "folder" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(place / f"{number:02}.png")
        encoded.append((place / f"{number:02}.png").read_bytes())
    parquet.write_table(pa.table({"picture": encoded, "label": labels}), tmp_path / "pictures.parquet")
    numbers = pa.table({"input": list(images.reshape(40, -1)), "label": labels})
    parquet.write_table(numbers, tmp_path / "numbers.parquet")
    for label in np.unique(labels):  # a batch of each class
        (place := tmp_path / "arrays" / str(label)).mkdir(parents=True)
        np.save(place / "all.npy", images[labels == label])
    names = ("plain.npz", "compressed.npz", "fortran.npz", "folder", "pictures.parquet", "numbers.parquet", "arrays")
    return {name: tmp_path / name for name in names}, images, labels


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most seven digits at a time."""
    monkeypatch.setattr(sizes, "AT_ONCE_BYTES", 7 * 4 * 64)
    monkeypatch.setattr("hnexport.evaluate.parquet._AT_ONCE", 7)


def test_every_form_is_read_in_parts_and_again(digits: Built, forms: Forms, in_parts: None) -> None:
    paths, images, labels = forms
    for name, path in paths.items():
        data = read_data(path, digits.manifest, digits.manifest.outputs[0], PICTURES)
        assert np.array_equal(data.targets, labels), name
        assert data.samples == 40
        for _ in range(2):
            parts = [part["input"] for part in data.batches]
            assert len(parts) >= (2 if name == "arrays" else 6), name
            np.testing.assert_allclose(np.concatenate(parts), images, rtol=1e-6, err_msg=name)


def test_an_evaluation_in_parts_is_the_evaluation(
    digits: Built,
    forms: Forms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, options = forms[0]["plain.npz"], EvaluateOptions(provider="cpu", artifacts=("onnx",))
    whole, steps = evaluate(digits.path, path, options=options), []
    monkeypatch.setattr(sizes, "AT_ONCE_BYTES", 7 * 4 * 64)
    parts = evaluate(digits.path, path, options=options, progress=lambda *step: steps.append(step))
    for one, other in zip(parts.sources, whole.sources, strict=True):
        assert one.classification.ensemble.nll == pytest.approx(other.classification.ensemble.nll, rel=1e-5)
        assert one.classification.ensemble.accuracy == other.classification.ensemble.accuracy
    counted = [(done, total) for stage, done, total in steps if stage == "evaluate runtime"]
    assert counted[0] == (7, 120)
    assert counted[-1] == (120, 120)
    assert counted == sorted(counted)


def test_what_fits_is_read_once(digits: Built, forms: Forms, tmp_path: Path) -> None:
    path = forms[0]["plain.npz"]
    data = read_data(path, digits.manifest, digits.manifest.outputs[0], PICTURES)
    path.unlink()
    assert sum(len(part["input"]) for part in data.batches) == 40


def test_a_damaged_picture_of_a_later_part_is_named(digits: Built, forms: Forms, in_parts: None) -> None:
    paths, _, labels = forms
    broken = sorted((paths["folder"] / str(labels[-1])).iterdir())[-1]
    broken.write_bytes(b"\x89PNG and no more")
    with pytest.raises(RuntimeInputError, match=f"{broken} cannot be read as an image"):
        evaluate(digits.path, paths["folder"], options=EvaluateOptions(provider="cpu", reading=PICTURES))
    table = parquet.read_table(paths["pictures.parquet"])
    contents = [*table.column("picture").to_pylist()[:-1], b"\x89PNG and no more"]
    parquet.write_table(pa.table({"picture": contents, "label": labels}), paths["pictures.parquet"])
    with pytest.raises(RuntimeInputError, match=r"pictures\.parquet: picture \[39\] cannot be read as an image"):
        evaluate(digits.path, paths["pictures.parquet"], options=EvaluateOptions(provider="cpu", reading=PICTURES))


def test_data_without_samples_are_refused(digits: Built, tmp_path: Path) -> None:
    none = np.zeros((0, 1, 8, 8), np.float32)
    np.savez(tmp_path / "none.npz", input=none, label=np.zeros(0, int))
    schema = pa.schema({"input": pa.list_(pa.float32()), "label": pa.int64()})
    parquet.write_table(schema.empty_table(), tmp_path / "none.parquet")
    for name in ("none.npz", "none.parquet"):
        for targets in (True, False):
            with pytest.raises(RuntimeInputError, match="holds no samples|the batch is empty"):
                read_data(tmp_path / name, digits.manifest, digits.manifest.outputs[0], ReadOptions(), targets=targets)


def test_pictures_behind_a_batch_of_arrays_are_told_and_normalised_as_asked(
    digits: Built, forms: Forms, in_parts: None
) -> None:
    paths, _, labels = forms
    folder = paths["arrays"]
    last = folder / str(labels[-1])
    (last / "all.npy").unlink()
    for picture in (paths["folder"] / last.name).iterdir():
        picture.rename(last / picture.name)
    found = evaluate(digits.path, folder, options=EvaluateOptions(provider="cpu", reading=PICTURES))
    assert found.normalised is not None
    assert found.normalised.mean == (0.0,)
