"""`hnexport predict`: tables and JSON, and what it refuses."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import small_bundle, with_usage
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from shared import Built
from thorough import first

from hnexport.cli.main import cli
from hnexport.images import read_images
from hnexport.runtime import load
from hnexport.spec.usage import Normalisation, Usage


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Two 8x8 pictures."""
    random, paths = np.random.default_rng(0), []
    for name in ("first.png", "second.png"):
        paths.append(str(tmp_path / name))
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(paths[-1])
    return paths


MEAN, STD, NAMES = (0.5, 0.4, 0.3), (0.2,), ("cat", "dog", "[red]fox[/red]", "owl", "yak")


@pytest.fixture(scope="module")
def said(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, which says how training normalised pictures and what the classes are called."""
    usage = Usage(normalisation=Normalisation(mean=MEAN, std=STD), class_names={"logits": NAMES})
    return with_usage(built.path, usage, tmp_path_factory.mktemp("said") / "bundle")


def run(bundle: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["predict", str(bundle), *map(str, arguments), "--provider", "cpu"])


@pytest.fixture
def predict(said: Path) -> Callable[..., Result]:
    return functools.partial(run, said)


@pytest.fixture
def predict_silent(built: Built) -> Callable[..., Result]:
    """Of a bundle that says nothing of pictures and classes, as those that were built before it could."""
    return functools.partial(run, built.path)


@pytest.fixture
def expected(said: Path, pictures: list[str]) -> Any:
    """The prediction of the library for both pictures."""
    ensemble = load(said, provider="cpu", strategy="generated")
    return ensemble.predict_mean(read_images(pictures, ensemble.image_input).images)


def normalised(picture: str, mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[Any]:
    """The picture as the graph takes it, `[1, channel, height, width]`, written down here once more."""
    pixels = np.asarray(Image.open(picture)).astype(np.float32).transpose(2, 0, 1)[np.newaxis] / np.float32(255)
    shift, scale = (np.array(one, np.float32).reshape(-1, 1, 1) for one in (mean, std))
    return ((pixels - shift) / scale).astype(np.float32)


def test_json_holds_what_the_library_says(predict: Callable[..., Result], pictures: list[str], expected: Any) -> None:
    done = predict(*pictures, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [item["image"] for item in found] == ["first.png", "second.png"]
    for number, item in enumerate(found):
        assert list(item["members"]) == ["0", "1", "2"]
        for row, member in enumerate(item["members"].values()):
            assert np.array_equal(np.float32(member["logits"]), expected.logits[row, number])
            np.testing.assert_allclose(member["probabilities"], expected.member_probabilities[row, number])
        np.testing.assert_allclose(item["mean_probabilities"], expected.probabilities[number])
        assert item["predictive_entropy_nats"] == pytest.approx(expected.predictive_entropy[number])
        assert item["mutual_information_nats"] == pytest.approx(expected.mutual_information[number])
        assert item["votes"] == expected.votes[number].tolist()


def test_json_says_null_where_an_image_has_nan(predict: Callable[..., Result], tmp_path: Path) -> None:
    np.save(tmp_path / "nan.npy", np.full((3, 8, 8), np.nan, np.float32))
    done = predict(tmp_path / "nan.npy", "--json")
    assert done.exit_code == 0
    (item,) = json.loads(done.stdout, parse_constant=pytest.fail)
    assert item["predictive_entropy_nats"] is None
    assert item["mean_probabilities"] == [None] * 5
    assert "nothing (NaN)" in predict(tmp_path / "nan.npy").stdout


@pytest.mark.parametrize(
    ("arguments", "members"),
    first(
        2,
        [(("--member", "1"), [1]), (("--members", "2,0"), [2, 0]), (("--members", "all"), [0, 1, 2]), ((), [0, 1, 2])],
    ),
    ids=["one", "two", "all", "default"],
)
def test_members_are_those_that_were_asked_for(
    predict: Callable[..., Result], pictures: list[str], arguments: tuple[str, ...], members: list[int]
) -> None:
    (item,) = json.loads(predict(pictures[0], *arguments, "--json").stdout)
    assert list(item["members"]) == [str(member) for member in members]


def test_the_table_has_a_row_a_member_and_says_how_much_they_disagree(
    predict: Callable[..., Result], pictures: list[str], expected: Any
) -> None:
    done = predict(*pictures)
    assert done.exit_code == 0
    assert "first.png" in done.stdout
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    first = {row[1].strip(): row for row in rows[: len(rows) // 2]}
    assert list(first) == ["0", "1", "2", "mean", "votes"]
    best = int(expected.probabilities[0].argmax())
    assert first["mean"][2].strip() == NAMES[best]
    assert first["mean"][3 + best].strip() == f"{expected.probabilities[0, best]:.1%}"
    assert [int(cell) for cell in first["votes"][3:8]] == expected.votes[0].tolist()
    assert f"predictive entropy {expected.predictive_entropy[0]:.3f} nats" in done.stdout
    assert f"mutual information {expected.mutual_information[0]:.3f} nats" in done.stdout


def test_one_member_has_nobody_to_disagree_with(predict: Callable[..., Result], pictures: list[str]) -> None:
    done = predict(pictures[0], "--member", "1")
    assert done.exit_code == 0
    assert "│ mean" not in done.stdout
    assert "mutual information" not in done.stdout


def test_classes_have_the_names_that_the_bundle_says(
    predict: Callable[..., Result], predict_silent: Callable[..., Result], pictures: list[str]
) -> None:
    done = predict(pictures[0])
    assert done.exit_code == 0
    assert all(name in done.stdout for name in NAMES)
    assert "class 0" not in done.stdout
    assert "classes:" not in done.stdout
    assert json.loads(predict(pictures[0], "--json").stdout)[0]["labels"] == list(NAMES)
    plain = predict_silent(pictures[0], "--mean", "0", "--std", "1").stdout
    assert "class 4" in plain


def test_labels_that_are_given_win_and_that_is_said(
    predict: Callable[..., Result], predict_silent: Callable[..., Result], pictures: list[str], tmp_path: Path
) -> None:
    given = [f"other {number}" for number in range(5)]
    (tmp_path / "labels.txt").write_text("\n".join(given), encoding="utf-8")
    done = predict(pictures[0], "--labels", tmp_path / "labels.txt")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in given)
    said = " ".join(done.stdout.split())
    assert re.search(
        r"classes: as \S*labels.txt names them; the bundle says cat, dog, \[red\]fox\[/red\], owl, yak", said
    )
    found = json.loads(predict(pictures[0], "--labels", tmp_path / "labels.txt", "--json").stdout)
    assert found[0]["labels"] == given
    (tmp_path / "labels.txt").write_text("\n".join(NAMES), encoding="utf-8")
    assert "classes:" not in predict(pictures[0], "--labels", tmp_path / "labels.txt").stdout
    (tmp_path / "labels.txt").write_text("a\nb", encoding="utf-8")
    done = predict(pictures[0], "--labels", tmp_path / "labels.txt")
    assert done.exit_code == 2
    assert "expected 5 labels, one a line, found 2: name every class in its order, or leave --labels out" in " ".join(
        done.stderr.split()
    )


NORMALISATIONS = {
    "of the command": (("--mean", "0.1", "--std", "0.9,0.8,0.7"), (0.1,), (0.9, 0.8, 0.7), "given", "the command"),
    "of the bundle": ((), MEAN, STD, "ensemble", "the bundle"),
}


@pytest.mark.parametrize(("arguments", "mean", "std", "by", "who"), NORMALISATIONS.values(), ids=NORMALISATIONS.keys())
def test_pictures_are_normalised_and_who_said_how_is_told(
    predict: Callable[..., Result],
    pictures: list[str],
    built: Built,
    arguments: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    by: str,
    who: str,
) -> None:
    (item,) = json.loads(predict(pictures[0], "--member", "0", *arguments, "--json").stdout)
    logits = load(built.path, provider="cpu").predict(normalised(pictures[0], mean, std), member=0)[0]
    np.testing.assert_allclose(item["members"]["0"]["logits"], logits, rtol=1e-3, atol=1e-4)
    assert item["normalisation"] == {"by": by, "mean": list(mean), "std": list(std)}
    numbers = f"mean {', '.join(map(str, mean))}, std {', '.join(map(str, std))}"
    told = " ".join(predict(pictures[0], *arguments).stdout.split())
    assert f"pictures: (pixel/255 - mean) / std, {numbers}, as {who} says" in told


def test_a_picture_of_which_nobody_says_how_it_is_normalised_is_refused(
    predict_silent: Callable[..., Result], pictures: list[str], tmp_path: Path
) -> None:
    done = predict_silent(pictures[0])
    assert (done.exit_code, done.stdout) == (2, "")
    said = " ".join(done.stderr.split())
    assert "first.png: this ensemble does not say how training normalised pictures" in said
    assert "give --mean … --std …, or --mean 0 --std 1 where training took pixel / 255" in said
    assert predict_silent(pictures[0], "--mean", "0", "--std", "1").exit_code == 0
    np.save(tmp_path / "array.npy", normalised(pictures[0], MEAN, STD))
    done = predict_silent(tmp_path / "array.npy", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)[0]["normalisation"] is None
    assert "pictures:" not in predict_silent(tmp_path / "array.npy").stdout


def test_half_a_normalisation_is_refused(predict: Callable[..., Result], pictures: list[str]) -> None:
    for half, said in (("--mean", "give both, --std 1 where"), ("--std", "give both, --mean 0 where")):
        done = predict(pictures[0], half, "0.5")
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in " ".join(done.stderr.split())


def test_a_graph_that_normalises_itself_says_so_and_takes_no_other(pictures: list[str]) -> None:
    bundle = small_bundle("pixels")
    done = run(bundle, pictures[0])
    assert done.exit_code == 0
    assert "pictures: pixels from 0 to 255, the graph normalises them" in " ".join(done.stdout.split())
    (item,) = json.loads(run(bundle, pictures[0], "--json").stdout)
    assert item["normalisation"] == {"by": "graph", "mean": None, "std": None}
    done = run(bundle, pictures[0], "--mean", "0.5", "--std", "0.2")
    assert done.exit_code == 2
    assert "this graph normalises its images itself, it takes pixels (uint8): leave --mean and --std out" in " ".join(
        done.stderr.split()
    )


def test_arrays_alone_are_not_normalised(predict: Callable[..., Result], tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros((3, 8, 8), np.float32))
    done = predict(tmp_path / "array.npy", "--mean", "0.5", "--std", "0.2")
    assert done.exit_code == 2
    assert "arrays are taken as they are: leave them out" in " ".join(done.stderr.split())


def test_another_size_needs_resize(predict: Callable[..., Result], tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "large.png")
    done = predict(tmp_path / "large.png")
    assert done.exit_code == 2
    assert "large.png is 40x30 pixels" in done.stderr
    assert predict(tmp_path / "large.png", "--resize").exit_code == 0


REFUSED = {
    "an unknown member": (("--member", "3"), "member 3 does not exist: this ensemble has members 0 to 2"),
    "member and members": (("--member", "1", "--members", "all"), "give --member or --members, not both"),
    "members in words": (("--members", "some"), "not comma-separated integers or 'all'"),
    "mean in words": (("--mean", "grey"), "not comma-separated numbers"),
    "std of zero": (("--mean", "0", "--std", "0"), "std positive"),
    "two channels": (
        ("--mean", "0,0", "--std", "1"),
        "mean needs 1 or 3 numbers, one a channel, found 2; the ensemble ",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), first(2, REFUSED.values()), ids=REFUSED.keys())
def test_what_cannot_be_answered_exits_with_2(
    predict: Callable[..., Result], pictures: list[str], arguments: tuple[str, ...], message: str
) -> None:
    done = predict(pictures[0], *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())


def test_a_folder_that_is_no_bundle_exits_with_2(pictures: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["predict", str(tmp_path), pictures[0]])
    assert done.exit_code == 2
    assert "is not a bundle" in done.stderr


def test_a_damaged_bundle_exits_with_2_and_names_the_file(bundle: Path, pictures: list[str]) -> None:
    with (bundle / "weights.bin").open("r+b") as file:
        file.write(b"\x7f")
    done = CliRunner().invoke(cli, ["predict", str(bundle), pictures[0]])
    assert done.exit_code == 2
    assert "weights.bin is damaged" in done.stderr


def test_predicting_loads_neither_torch_nor_onnx(said: Path, pictures: list[str]) -> None:
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'onnx_ir'): sys.modules[name] = None\n"
        f"from hnexport.cli.main import cli\ncli(['predict', {str(said)!r}, {pictures[0]!r}, '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["image"] == "first.png"


def test_pictures_of_several_kinds_are_predicted_in_one_call(
    predict: Callable[..., Result], pictures: list[str], tmp_path: Path
) -> None:
    first, second = (Image.open(path) for path in pictures)
    clear = first.convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    Image.new("RGB", (8, 8), "lime").save(tmp_path / "lime.png")
    second.save(tmp_path / "两.gif", save_all=True, append_images=[first])
    np.save(tmp_path / "two.npy", np.zeros((2, 3, 8, 8), ">f4"))
    names = ["clear.png", "两.gif", "two.npy", "lime.png", "clear.png"]
    done = predict(*(tmp_path / name for name in names), "--background", "0,255,0", "--frame", "0", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [item["image"] for item in found] == [
        "clear.png", "两.gif", "two.npy[0]", "two.npy[1]", "lime.png", "clear.png",
    ]  # fmt: skip
    assert found[0]["members"] == found[4]["members"] == found[5]["members"]
    assert found[0]["members"] != found[1]["members"]


def test_what_a_picture_leaves_open_is_asked_for(
    predict: Callable[..., Result], pictures: list[str], tmp_path: Path
) -> None:
    picture = Image.open(pictures[0])
    picture.save(tmp_path / "frames.webp", save_all=True, append_images=[picture.rotate(90)])
    picture.putalpha(7)
    picture.save(tmp_path / "clear.png")
    for name, option in (("frames.webp", "--frame 0"), ("clear.png", "--background white")):
        done = predict(tmp_path / name)
        assert done.exit_code == 2
        assert option in " ".join(done.stderr.split())
        assert predict(tmp_path / name, *option.split()).exit_code == 0


def test_a_background_that_is_no_colour_is_refused(predict: Callable[..., Result], pictures: list[str]) -> None:
    done = predict(pictures[0], "--background", "whit")
    assert done.exit_code == 2
    assert "is no colour" in done.stderr


def test_until_shows_only_the_members_that_a_sample_took(
    predict: Callable[..., Result], said: Path, pictures: list[str], expected: Any
) -> None:
    confidence = float(np.sort(expected.member_probabilities[0].max(axis=-1)).mean())  # between the two pictures'
    done = predict(*pictures, "--until", str(confidence), "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    ensemble = load(said, provider="cpu", strategy="generated")
    known = ensemble.predict_mean(read_images(pictures, ensemble.image_input).images, until=confidence)
    found = json.loads(done.stdout)
    assert [item["members_used"] for item in found] == known.members_used.tolist()
    assert min(known.members_used) == 1 < max(known.members_used)
    for number, item in enumerate(found):
        assert list(item["members"]) == [str(one) for one in range(item["members_used"])]
        np.testing.assert_allclose(item["mean_probabilities"], known.probabilities[number])
        assert sum(item["votes"]) == item["members_used"]
    tables = predict(*pictures, "--until", str(confidence))
    for count in known.members_used:
        assert f"{count} of 3 members" in tables.stdout
    assert f"2 samples took {known.members_used.mean():.2f} of 3 members each on average" in tables.stdout


def test_until_writes_how_many_members_each_sample_took(
    predict: Callable[..., Result], pictures: list[str], tmp_path: Path
) -> None:
    done = predict(*pictures, "--until", "exact", "--members", "2,0,1", "--out", tmp_path / "said.npz")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "said.npz") as arrays:
        assert arrays["cond_ids"].tolist() == [2, 0, 1]
        for row, count in enumerate(arrays["members_used"]):
            assert 2 <= count <= 3
            assert np.isfinite(arrays["member_logits"][:count, row]).all()
            assert np.isnan(arrays["member_logits"][count:, row]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--until", "80"), "for 80 % say 0.8"),
        (("--until", "sure"), "'exact', 'votes', 'bundle' or a probability such as 0.8"),
        (("--until", "0.8", "--member", "1"), "--until is for several members"),
    ],
)
def test_what_until_cannot_be_is_a_usage_error(
    predict: Callable[..., Result], pictures: list[str], arguments: tuple[str, ...], message: str
) -> None:
    done = predict(*pictures, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
