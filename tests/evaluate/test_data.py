"""Data in every form that is read are the same numbers; what cannot be right is refused with the remedy."""

import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.data import read_data
from hnexport.evaluate.targets import ReadOptions

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
LABELS = np.arange(20) % 10


@pytest.fixture
def read(digits):
    def run(path, *, targets=True, **options):
        manifest = digits.manifest
        return read_data(path, manifest, manifest.outputs[0], ReadOptions(**options), targets=targets)

    return run


@pytest.fixture
def folder(tmp_path):
    """Two pictures of each class, in folders with the classes' numbers."""
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        (place := tmp_path / "folder" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:02}.png")
        (place / ".DS_Store").write_text("of a desktop")
    return tmp_path / "folder"


def encoded(tmp_path):
    found = []
    for pixels in PIXELS:
        Image.fromarray(pixels).save(tmp_path / "one.png")
        found.append((tmp_path / "one.png").read_bytes())
    return found


def inputs(data):
    return np.concatenate([batch["input"] for batch in data.batches])


def in_order(data):
    """By class and first pixels, whatever the order of the files."""
    rows = [(int(label), image.tobytes()) for label, image in zip(data.targets, inputs(data), strict=True)]
    return sorted(rows)


def test_a_folder_an_archive_and_parquet_hold_the_same_data(read, folder, tmp_path):
    images = (PIXELS / np.float32(255)).astype(np.float32)[:, np.newaxis]
    np.savez(tmp_path / "data.npz", input=images, label=LABELS)
    table = pa.table({"picture": [{"bytes": one, "path": None} for one in encoded(tmp_path)], "label": LABELS})
    parquet.write_table(table, tmp_path / "pictures.parquet")
    table = pa.table({"input": list(images.reshape(20, -1)), "y": LABELS.astype(np.uint8)})
    parquet.write_table(table, tmp_path / "numbers.parquet")
    found = [read(tmp_path / name) for name in ("folder", "data.npz", "pictures.parquet", "numbers.parquet")]
    assert [one.samples for one in found] == [20] * 4
    assert found[0].targets.dtype == np.int64
    assert all(in_order(one) == in_order(found[0]) for one in found)
    assert np.array_equal(inputs(found[2]), images)


def test_pictures_are_normalised_as_they_are_told(read, folder, tmp_path):
    from hnexport.images import Normalisation

    plain = read(folder)
    told = read(folder, pictures={"normalisation": Normalisation(mean=(0.5,), std=(0.25,))})
    np.testing.assert_allclose(inputs(told), (inputs(plain) - 0.5) / 0.25, rtol=1e-5, atol=1e-6)


def test_folders_by_name_are_classes_by_their_names_or_in_their_order(read, folder):
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    plain = read(folder)
    for number, word in enumerate(words):
        (folder / str(number)).rename(folder / word)
    named = read(folder, class_names=words)
    assert in_order(named) == in_order(plain)
    assert (named.class_names, named.class_order) == (words, "")
    by_order = read(folder)
    assert by_order.class_order == "folders sorted by name"
    assert by_order.class_names == tuple(sorted(words))
    (folder / "nine").rename(folder / "ten")
    with pytest.raises(RuntimeInputError, match="the folder 'ten' is none of the classes zero, one"):
        read(folder, class_names=words)


def test_too_few_named_folders_are_refused_with_what_to_give(read, folder):
    for number in range(10):
        (folder / str(number)).rename(folder / f"class-{number}")
    for file in (folder / "class-9").iterdir():
        file.unlink()
    (folder / "class-9").rmdir()
    with pytest.raises(
        RuntimeInputError, match=r"has 9 folders, the network 10 classes: name the classes .* class_names="
    ):
        read(folder)


def test_data_that_need_no_targets_are_read_from_any_folder(read, folder, tmp_path):
    assert read(folder, targets=False).samples == 20
    flat = read(folder / "3", targets=False)
    assert (flat.samples, flat.targets) == (2, None)
    np.savez(tmp_path / "other.npz", input=np.zeros((4, 1, 8, 8), np.float32), label=np.zeros(4))
    assert read(tmp_path / "other.npz", targets=False).samples == 4


def test_names_of_classes_come_from_the_file_of_a_hub(read, tmp_path):
    words = [f"digit {number}" for number in range(10)]
    hub = {"info": {"features": {"label": {"names": words, "_type": "ClassLabel"}}}}
    table = pa.table({"image": encoded(tmp_path), "label": LABELS})
    table = table.replace_schema_metadata({"huggingface": json.dumps(hub)})
    parquet.write_table(table, tmp_path / "hub.parquet")
    found = read(tmp_path / "hub.parquet")
    assert found.class_names == tuple(words)
    said = pa.table({"image": encoded(tmp_path), "kind": [words[one] for one in LABELS]})
    parquet.write_table(said, tmp_path / "said.parquet")
    again = read(tmp_path / "said.parquet", target="kind", class_names=tuple(words))
    assert np.array_equal(again.targets, LABELS)
    with pytest.raises(RuntimeInputError, match="names the class 'digit 0', which is none of none that are known"):
        read(tmp_path / "said.parquet", target="kind")


ARCHIVES = {
    "no label": (lambda a: a.pop("label"), "expected one array label or labels"),
    "two labels": (lambda a: a.update(y=a["label"]), "found label, y"),
    "too few": (lambda a: a.update(label=a["label"][:5]), "expected a target for each of 20 samples, found 5"),
    "no such class": (
        lambda a: a.update(label=a["label"] + 1),
        "logits has 10 classes from 0, a sample is of class 10",
    ),
    "below 0": (lambda a: a.update(label=a["label"] - 1), "a sample is of class -1"),
    "no whole numbers": (lambda a: a.update(label=a["label"] * 1.0), r"label\]: expected int64, found float64"),
    "pixels": (lambda a: a.update(input=PIXELS[:, None]), "scale and normalise the pixels as in training"),
    "another shape": (lambda a: a.update(input=np.zeros((20, 8, 8), np.float32)), r"expected shape \[batch, 1, 8, 8\]"),
    "too many arrays": (lambda a: a.update(extra=np.zeros(3)), "has an array 'extra' too many"),
}


@pytest.mark.parametrize(("edit", "message"), ARCHIVES.values(), ids=ARCHIVES.keys())
def test_archives_that_cannot_be_right_are_refused(read, tmp_path, edit, message):
    arrays = {"input": np.zeros((20, 1, 8, 8), np.float32), "label": LABELS}
    edit(arrays)
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(RuntimeInputError, match=message):
        read(tmp_path / "data.npz")


TABLES = {
    "no column": ({"label": LABELS}, "has no column 'input': found label"),
    "lists of other lengths": ({"input": [[1.0]] * 19 + [[1.0, 2.0]], "label": LABELS}, "lists of different lengths"),
    "too short": ({"input": [[1.0, 2.0]] * 20, "label": LABELS}, r"expected \[1, 8, 8\] numbers a sample, found 2"),
    "words": ({"input": ["a"] * 20, "label": LABELS}, "expected numbers, found string"),
    "missing": ({"input": [[0.0] * 64] * 19 + [None], "label": LABELS}, "or none"),
    "no picture": ({"image": [b"GIF89a"] * 20, "label": LABELS}, r"image \[0\] cannot be read as an image"),
    "null picture": ({"image": [b"x"] + [None] * 19, "label": LABELS}, "row 1 of image holds no picture"),
}


@pytest.mark.parametrize(("columns", "message"), TABLES.values(), ids=TABLES.keys())
def test_tables_that_cannot_be_right_are_refused(read, tmp_path, columns, message):
    parquet.write_table(pa.table(columns), tmp_path / "data.parquet")
    with pytest.raises(RuntimeInputError, match=message):
        read(tmp_path / "data.parquet")


def test_what_is_no_data_is_refused(read, tmp_path, folder):
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and nothing else")
    for name, message in {
        "notes.txt": "is no data: expected a folder",
        "empty": "holds no folders: expected one for each class",
        "broken.parquet": "cannot be read as Parquet",
        "broken.npz": "cannot be read as a .npz file",
        "missing.npz": "it is missing",
    }.items():
        with pytest.raises(RuntimeInputError, match=message):
            read(tmp_path / name)
