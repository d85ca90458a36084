"""Real handwriting as picture files: commands and library answer as they do of the arrays that were trained on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import small_bundle, with_usage
from click.testing import CliRunner
from digits import USAGE, TrainedDigits, splits
from numpy.typing import NDArray
from PIL import Image
from shared import built_kind
from thorough import first

from hnexport.cli.main import cli
from hnexport.errors import RuntimeInputError
from hnexport.images import Normalisation, from_pixels, read_images
from hnexport.runtime import load
from hnexport.spec.usage import Usage

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = USAGE.class_names["logits"]


@pytest.fixture(scope="module")
def digits() -> Path:
    return built_kind("digits", TrainedDigits()).path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits to test with as grey pictures of 8x8 pixels, in a folder for each class by its name."""
    place, tested = tmp_path_factory.mktemp("digits"), splits()[2]
    for number, (pixels, label) in enumerate(zip(tested.pixels, tested.labels, strict=True)):
        (place / NAMES[label]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / NAMES[label] / f"{number:03}.png")
    return place


@pytest.fixture(scope="module")
def files(folder: Path) -> list[Any]:
    """The pictures in the order of the arrays."""
    return sorted(folder.glob("*/*.png"), key=lambda path: path.name)


def answered(*arguments: object) -> Any:
    done = CliRunner().invoke(cli, [*map(str, arguments), "--provider", "cpu", "--json"])
    assert (done.exit_code, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_predicted_pictures_have_the_answers_of_the_arrays(digits: Path, files: list[Any]) -> None:
    tested, found = splits()[2], answered("predict", digits, *files)
    logits = np.array([[one["logits"] for one in item["members"].values()] for item in found])
    expected = load(digits, provider="cpu", strategy="generated").predict(tested.images, members="all")
    assert np.array_equal(logits.astype(np.float32), expected.transpose(1, 0, 2))
    said = [item["labels"][int(np.argmax(item["mean_probabilities"]))] for item in found]
    right = [NAMES[label] for label in tested.labels]
    assert np.mean([one == other for one, other in zip(said, right, strict=True)]) > 0.95
    assert found[0]["normalisation"] == {"by": "ensemble", "mean": [0.3], "std": [0.35]}


def test_a_folder_of_pictures_is_evaluated_as_the_arrays_are(digits: Path, folder: Path, tmp_path: Path) -> None:
    tested = splits()[2]
    np.savez(tmp_path / "numbers.npz", input=tested.images, label=tested.labels)
    np.savez(tmp_path / "names.npz", input=tested.images, label=np.array(NAMES)[tested.labels])
    by_number, by_name, pictures = (
        answered("evaluate", digits, data, "--ood", folder / "eight")
        for data in (tmp_path / "numbers.npz", tmp_path / "names.npz", folder)
    )
    for found in (by_number, by_name, pictures):
        assert (found["class_names"], found["class_order"]) == (list(NAMES), "")
        assert found["ood_normalised"] == {"by": "ensemble", "mean": [0.3], "std": [0.35]}
    assert by_name["sources"] == by_number["sources"]
    each = [found["sources"][0]["classification"] for found in (by_number, pictures)]
    assert [part["accuracy"] for part in each[0]["each"]] == [part["accuracy"] for part in each[1]["each"]]
    assert each[0]["ensemble"]["nll"] == pytest.approx(each[1]["ensemble"]["nll"], rel=1e-6)
    assert (by_number["normalised"], pictures["normalised"]["by"]) == (None, "ensemble")


def test_evaluating_says_how_pictures_are_normalised_and_refuses_those_of_which_nobody_says_it(
    digits: Path, folder: Path, tmp_path: Path
) -> None:
    silent = with_usage(digits, Usage(), tmp_path / "silent")
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    options = ["--labels", str(tmp_path / "names.txt"), "--provider", "cpu"]
    done = CliRunner().invoke(cli, ["evaluate", str(silent), str(folder), *options])
    assert done.exit_code == 2
    assert "give --mean … --std …, or --mean 0 --std 1" in " ".join(done.stderr.split())
    done = CliRunner().invoke(cli, ["evaluate", str(silent), str(folder), *options, "--mean", "0.3", "--std", "0.35"])
    assert "pictures: (pixel/255 - mean) / std, mean 0.3, std 0.35, as the command says" in " ".join(
        done.stdout.split()
    )
    own = CliRunner().invoke(cli, ["evaluate", str(digits), str(folder), "--provider", "cpu"])
    told = "pictures: (pixel/255 - mean) / std, mean 0.3, std 0.35, as the bundle says"
    assert done.stdout.replace("the command says", "the bundle says").split() == own.stdout.split()
    assert told in " ".join(own.stdout.split())


def test_a_loaded_ensemble_says_what_its_pictures_need_and_what_its_classes_are_called(
    digits: Path, files: list[Any]
) -> None:
    ensemble, tested = load(digits, provider="cpu"), splits()[2]
    assert ensemble.usage == USAGE
    assert ensemble.class_names == NAMES
    batch = read_images(files, ensemble.image_input)
    assert np.array_equal(batch.images, tested.images)
    assert np.array_equal(from_pixels(tested.pixels[..., np.newaxis], ensemble.image_input), tested.images)
    one = from_pixels(tested.pixels[0, ..., np.newaxis], ensemble.image_input)
    assert np.array_equal(one, tested.images[:1])
    given = from_pixels(
        tested.pixels[..., np.newaxis], ensemble.image_input, normalisation=Normalisation(mean=(0.5,), std=(0.25,))
    )
    np.testing.assert_allclose(given[:, 0], (tested.pixels / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-6)


def test_the_example_without_hnexport_says_the_same_of_a_picture(digits: Path, files: list[Any]) -> None:
    command = [sys.executable, EXAMPLES / "python" / "picture.py", digits, files[3]]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    (item,) = answered("predict", digits, files[3])
    best = sorted(zip(item["mean_probabilities"], NAMES, strict=True), reverse=True)[:3]
    found = [line.split(": ") for line in done.stdout.splitlines()]
    assert [name for name, _ in found] == [name for _, name in best]
    np.testing.assert_allclose([float(p) for _, p in found], [p for p, _ in best], atol=6e-5)


def test_the_example_without_hnexport_refuses_a_picture_of_which_nobody_says_how_it_is_normalised(
    digits: Path, files: list[Any], tmp_path: Path
) -> None:
    silent = with_usage(digits, Usage(), tmp_path / "silent")
    command = [sys.executable, EXAMPLES / "python" / "picture.py", silent, files[3]]
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "does not say how training normalised pictures" in done.stderr


def test_the_example_without_hnexport_gives_pixels_to_a_graph_that_normalises_them(
    files: list[Any], tmp_path: Path
) -> None:
    bundle = small_bundle("pixels")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    command = [sys.executable, EXAMPLES / "python" / "picture.py", bundle, tmp_path / "a.png"]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    (item,) = answered("predict", bundle, tmp_path / "a.png")
    name, p = done.stdout.splitlines()[0].split(": ")
    assert name == item["labels"][int(np.argmax(item["mean_probabilities"]))]
    assert float(p) == pytest.approx(max(item["mean_probabilities"]), abs=6e-5)


def test_the_page_of_an_evaluation_says_how_pictures_were_normalised(
    digits: Path, folder: Path, tmp_path: Path
) -> None:
    answered("evaluate", digits, folder, "--page", tmp_path / "report.html")
    written = (tmp_path / "report.html").read_text()
    assert "Pictures: (pixel/255 - mean) / std, mean 0.3, std 0.35, as the bundle says." in written


BAD_PIXELS = {
    "floats": np.zeros((2, 8, 8, 1), np.float32),
    "channels first": np.zeros((2, 1, 8, 8), np.uint8),
    "no channel": np.zeros((8, 8), np.uint8),
    "five axes": np.zeros((1, 2, 8, 8, 1), np.uint8),
}


@pytest.mark.parametrize("pixels", first(1, BAD_PIXELS.values()), ids=BAD_PIXELS.keys())
def test_pixels_of_another_kind_are_refused(digits: Path, pixels: NDArray[np.float32] | NDArray[np.uint8]) -> None:
    image = load(digits, provider="cpu").image_input
    with pytest.raises(RuntimeInputError, match=r"expected pixels uint8 \[batch, 8, 8, 1\], found "):
        from_pixels(pixels, image)


def test_a_network_without_pictures_refuses_them() -> None:
    for read in (lambda: read_images(["a.png"], None), lambda: from_pixels(np.zeros((1, 8, 8, 1), np.uint8), None)):
        with pytest.raises(RuntimeInputError, match="this network takes no pictures"):
            read()
