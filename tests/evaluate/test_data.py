"""Data in every form that is read are the same numbers; what cannot be right is refused with the remedy."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet
from shared import Built

from hnexport.errors import RuntimeInputError
from hnexport.evaluate.data import Data, read_data
from hnexport.evaluate.targets import ReadOptions
from hnexport.spec.usage import Normalisation, Usage

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
LABELS = np.arange(20) % 10


PLAIN = Usage(normalisation=Normalisation())  # trained on pixel / 255, and nobody named the classes


@pytest.fixture
def read(digits: Built) -> Callable[..., Data]:
    def run(path: Path, *, targets: bool = True, usage: Usage = PLAIN, **options: Any) -> Data:
        manifest = replace(digits.manifest, usage=usage)
        return read_data(path, manifest, manifest.outputs[0], ReadOptions(**options), targets=targets)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of each class, in folders with the classes' numbers."""
    for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        (place := tmp_path / "folder" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:02}.png")
        (place / ".DS_Store").write_text("of a desktop")
    return tmp_path / "folder"


def encoded(tmp_path: Path) -> list[bytes]:
    found = []
    for pixels in PIXELS:
        Image.fromarray(pixels).save(tmp_path / "one.png")
        found.append((tmp_path / "one.png").read_bytes())
    return found


def inputs(data: Data) -> NDArray[Any]:
    return np.concatenate([batch["input"] for batch in data.batches])


def in_order(data: Data) -> list[Any]:
    """By class and first pixels, whatever the order of the files."""
    rows = [(int(label), image.tobytes()) for label, image in zip(data.targets, inputs(data), strict=True)]
    return sorted(rows)


def test_a_folder_an_archive_and_parquet_hold_the_same_data(
    read: Callable[..., Data], folder: Path, tmp_path: Path
) -> None:
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


def test_pictures_are_normalised_as_they_are_told_or_else_as_the_bundle_says(
    read: Callable[..., Data], folder: Path, tmp_path: Path
) -> None:
    said, trained = Normalisation(mean=(0.5,), std=(0.25,)), Usage(normalisation=Normalisation(mean=(0.1,), std=(2.0,)))
    parquet.write_table(pa.table({"picture": encoded(tmp_path), "label": LABELS}), tmp_path / "pictures.parquet")
    for data in (folder, tmp_path / "pictures.parquet"):
        plain = read(data)
        told = read(data, pictures={"normalisation": said}, usage=trained)
        own = read(data, usage=trained)
        expected = inputs(plain)
        np.testing.assert_allclose(inputs(told), (expected - 0.5) / 0.25, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(inputs(own), (expected - 0.1) / 2, rtol=1e-5, atol=1e-6)
        assert [one.normalised.by for one in (plain, told, own)] == ["ensemble", "given", "ensemble"]
        assert (own.normalised.mean, own.normalised.std) == ((0.1,), (2.0,))
        with pytest.raises(RuntimeInputError, match="does not say how training normalised pictures"):
            read(data, usage=Usage())
    other = read(folder, targets=False, usage=trained)
    assert np.array_equal(inputs(other), inputs(read(folder, usage=trained)))


def test_arrays_need_no_normalisation_and_have_none(read: Callable[..., Data], tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", input=np.zeros((4, 1, 8, 8), np.float32), label=np.zeros(4, int))
    assert read(tmp_path / "data.npz", usage=Usage()).normalised is None


def test_folders_by_name_are_classes_by_their_names_or_in_their_order(read: Callable[..., Data], folder: Path) -> None:
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
    said = Usage(normalisation=Normalisation(), class_names={"logits": words})
    assert in_order(read(folder, usage=said)) == in_order(plain)
    assert read(folder, usage=said).class_names == words
    others = read(folder, class_names=words[::-1], usage=said)  # what is given wins
    assert plain.targets is not None
    assert others.targets is not None
    assert sorted(others.targets) == sorted(9 - plain.targets)
    (folder / "nine").rename(folder / "ten")
    with pytest.raises(RuntimeInputError, match="the folder 'ten' is none of the classes zero, one.*: rename it, or"):
        read(folder, usage=said)
    with pytest.raises(RuntimeInputError, match="the folder 'ten' is none of the classes zero, one"):
        read(folder, class_names=words)


def test_too_few_named_folders_are_refused_with_what_to_give(read: Callable[..., Data], folder: Path) -> None:
    for number in range(10):
        (folder / str(number)).rename(folder / f"class-{number}")
    for file in (folder / "class-9").iterdir():
        file.unlink()
    (folder / "class-9").rmdir()
    with pytest.raises(
        RuntimeInputError, match=r"has 9 folders, the network 10 classes: name the classes .* class_names="
    ):
        read(folder)


def test_data_that_need_no_targets_are_read_from_any_folder(
    read: Callable[..., Data], folder: Path, tmp_path: Path
) -> None:
    assert read(folder, targets=False).samples == 20
    Image.fromarray(PIXELS[0]).save(folder / "beside.png")
    assert read(folder, targets=False).samples == 21
    flat = read(folder / "3", targets=False)
    assert (flat.samples, flat.targets) == (2, None)
    np.savez(tmp_path / "other.npz", input=np.zeros((4, 1, 8, 8), np.float32), label=np.zeros(4))
    assert read(tmp_path / "other.npz", targets=False).samples == 4


def test_names_of_classes_come_from_the_file_of_a_hub(read: Callable[..., Data], tmp_path: Path) -> None:
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
    said = Usage(normalisation=Normalisation(), class_names={"logits": tuple(words)})
    assert np.array_equal(read(tmp_path / "said.parquet", target="kind", usage=said).targets, LABELS)
    with pytest.raises(RuntimeInputError, match="names the class 'digit 0', which is none of none that are known"):
        read(tmp_path / "said.parquet", target="kind")


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMED = Usage(normalisation=Normalisation(), class_names={"logits": WORDS})


def test_labels_of_an_archive_may_be_the_names_that_the_bundle_says(read: Callable[..., Data], tmp_path: Path) -> None:
    images, said = np.zeros((20, 1, 8, 8), np.float32), np.array(WORDS)[LABELS]
    for order in (said, said.astype(said.dtype.newbyteorder(">"))):
        np.savez(tmp_path / "data.npz", input=images, label=order)
        assert np.array_equal(read(tmp_path / "data.npz", usage=NAMED).targets, LABELS)
    with pytest.raises(RuntimeInputError, match=r"names the class 'eight', which is none of none that are known"):
        read(tmp_path / "data.npz")
    said[3] = "thre"
    np.savez(tmp_path / "data.npz", input=images, label=said)
    with pytest.raises(RuntimeInputError, match=r"label\] names the class 'thre', which is none of zero, one"):
        read(tmp_path / "data.npz", usage=NAMED)


def test_text_that_cannot_be_is_refused(read: Callable[..., Data], tmp_path: Path) -> None:
    said = np.array(WORDS)[LABELS]
    said.view(np.uint32)[7] = 0x7FFFFFFF
    np.savez(tmp_path / "data.npz", input=np.zeros((20, 1, 8, 8), np.float32), label=said)
    with pytest.raises(RuntimeInputError, match=r"data\.npz\[label\]"):
        read(tmp_path / "data.npz", usage=NAMED)


def test_folders_that_are_called_by_numbers_keep_them_whatever_the_classes_are_called(
    read: Callable[..., Data], folder: Path
) -> None:
    assert in_order(read(folder, usage=NAMED)) == in_order(read(folder))


def test_a_folder_that_is_one_class_by_its_name_and_another_by_its_number_is_refused(
    read: Callable[..., Data], folder: Path
) -> None:
    mixed = Usage(normalisation=Normalisation(), class_names={"logits": ("1", "0", *WORDS[2:])})
    with pytest.raises(RuntimeInputError, match=r"the folder '0' is the name of class 1 and .* no class is called '2'"):
        read(folder, usage=mixed)
    assert in_order(read(folder, class_names=("0", "1", *WORDS[2:]))) == in_order(read(folder))


def test_a_folder_in_the_folder_of_a_class_is_refused_and_never_left_out(
    read: Callable[..., Data], folder: Path
) -> None:
    (folder / "3" / "more").mkdir()
    Image.fromarray(PIXELS[0]).save(folder / "3" / "more" / "one.png")
    for targets in (True, False):
        with pytest.raises(RuntimeInputError, match=r"more is a folder in the folder of a class: put its files into"):
            read(folder, targets=targets)


def test_two_classes_of_one_name_are_told_apart_by_their_numbers(read: Callable[..., Data], folder: Path) -> None:
    twice = Usage(normalisation=Normalisation(), class_names={"logits": ("crane", "owl", "crane", *"defghij")})
    for number, name in enumerate(("crane (0)", "owl", "crane (2)", *"defghij")):
        (folder / str(number)).rename(folder / name)
    found = read(folder, usage=twice)
    assert sorted(found.targets) == sorted(LABELS)
    assert found.class_names[:3] == ("crane (0)", "owl", "crane (2)")


def hub(tmp_path: Path, names: tuple[str, ...] | list[Any], labels: NDArray[np.int64] | NDArray[Any] = LABELS) -> Path:
    """Parquet that says its own names of the classes."""
    said = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
    table = pa.table({"image": encoded(tmp_path)[: len(labels)], "label": labels})
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(said)}), tmp_path / "hub.parquet")
    return tmp_path / "hub.parquet"


def test_a_file_that_numbers_the_classes_otherwise_than_the_network_is_read_by_name(
    read: Callable[..., Data], tmp_path: Path
) -> None:
    found = read(hub(tmp_path, WORDS[::-1]), usage=NAMED)
    assert np.array_equal(found.targets, 9 - LABELS)
    assert (found.class_names, found.class_order) == (
        WORDS,
        "by name: the file numbers them otherwise than the network",
    )
    same = read(hub(tmp_path, WORDS), usage=NAMED)
    assert np.array_equal(same.targets, LABELS)
    assert same.class_order == ""
    some = read(hub(tmp_path, ("nine", "none", "two"), np.array([0, 2])), usage=NAMED)
    assert some.targets.tolist() == [9, 2]
    with pytest.raises(RuntimeInputError, match="label names the class 'none', which is none of zero, one"):
        read(hub(tmp_path, ("nine", "none", "two"), np.array([0, 1])), usage=NAMED)
    with pytest.raises(RuntimeInputError, match="a sample of class 3, and names 3 classes"):
        read(hub(tmp_path, ("nine", "none", "two"), np.array([0, 3])), usage=NAMED)
    others = read(hub(tmp_path, [f"digit {word}" for word in WORDS]), usage=NAMED)
    assert np.array_equal(others.targets, LABELS)
    assert others.class_order == "numbers of the file, whose names are others than the network's"


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
def test_archives_that_cannot_be_right_are_refused(
    read: Callable[..., Data], tmp_path: Path, edit: Callable[[Any], Any], message: str
) -> None:
    arrays: dict[str, Any] = {"input": np.zeros((20, 1, 8, 8), np.float32), "label": LABELS}
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
def test_tables_that_cannot_be_right_are_refused(
    read: Callable[..., Data], tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "data.parquet")
    with pytest.raises(RuntimeInputError, match=message):
        read(tmp_path / "data.parquet")


def test_nested_lists_have_the_axes_of_the_input_in_its_order(read: Callable[..., Data], tmp_path: Path) -> None:
    images = np.random.default_rng(1).random((20, 8, 8)).astype(np.float32)

    def write(rows: NDArray[np.floating] | NDArray[np.floating] | NDArray[np.floating]) -> None:
        held = pa.array(rows.reshape(-1))
        for size in rows.shape[:0:-1]:
            held = pa.FixedSizeListArray.from_arrays(held, size)
        parquet.write_table(pa.table({"input": held, "label": LABELS}), tmp_path / "data.parquet")

    for rows in (images, images[:, np.newaxis], images.reshape(20, 64)):
        write(rows)
        assert np.array_equal(inputs(read(tmp_path / "data.parquet")), images[:, np.newaxis])
    for rows in (images.reshape(20, 4, 16), images.reshape(20, 2, 4, 8)):
        write(rows)
        with pytest.raises(RuntimeInputError, match=r"a sample's lists are \[.*\], expected \[1, 8, 8\]: put the axes"):
            read(tmp_path / "data.parquet")


def test_what_is_no_data_is_refused(read: Callable[..., Data], tmp_path: Path, folder: Path) -> None:
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
