"""`hnexport predict`: tables and JSON, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hnexport.cli.main import cli
from hnexport.images import image_input, read_images
from hnexport.runtime import load


@pytest.fixture
def pictures(tmp_path):
    """Two 8x8 pictures."""
    random, paths = np.random.default_rng(0), []
    for name in ("first.png", "second.png"):
        paths.append(str(tmp_path / name))
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def predict(built):
    def run(*arguments):
        return CliRunner().invoke(cli, ["predict", str(built.path), *map(str, arguments), "--provider", "cpu"])

    return run


@pytest.fixture
def expected(built, pictures):
    """The prediction of the library for both pictures."""
    ensemble = load(built.path, provider="cpu", strategy="generated")
    return ensemble.predict_mean(read_images([*map(_path, pictures)], image_input(ensemble.manifest)).images)


def _path(text):
    from pathlib import Path

    return Path(text)


def test_json_holds_what_the_library_says(predict, pictures, expected):
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


def test_json_says_null_where_an_image_has_nan(predict, tmp_path):
    np.save(tmp_path / "nan.npy", np.full((3, 8, 8), np.nan, np.float32))
    done = predict(tmp_path / "nan.npy", "--json")
    assert done.exit_code == 0
    (item,) = json.loads(done.stdout, parse_constant=pytest.fail)
    assert item["predictive_entropy_nats"] is None
    assert item["mean_probabilities"] == [None] * 5
    assert "nothing (NaN)" in predict(tmp_path / "nan.npy").stdout


@pytest.mark.parametrize(
    ("arguments", "members"),
    [(("--member", "1"), [1]), (("--members", "2,0"), [2, 0]), (("--members", "all"), [0, 1, 2]), ((), [0, 1, 2])],
    ids=["one", "two", "all", "default"],
)
def test_members_are_those_that_were_asked_for(predict, pictures, arguments, members):
    (item,) = json.loads(predict(pictures[0], *arguments, "--json").stdout)
    assert list(item["members"]) == [str(member) for member in members]


def test_the_table_has_a_row_a_member_and_says_how_much_they_disagree(predict, pictures, expected):
    done = predict(*pictures)
    assert done.exit_code == 0
    assert "first.png" in done.stdout
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    first = {row[1].strip(): row for row in rows[: len(rows) // 2]}
    assert list(first) == ["0", "1", "2", "mean", "votes"]
    best = int(expected.probabilities[0].argmax())
    assert first["mean"][2].strip() == f"class {best}"
    assert first["mean"][3 + best].strip() == f"{expected.probabilities[0, best]:.1%}"
    assert [int(cell) for cell in first["votes"][3:8]] == expected.votes[0].tolist()
    assert f"predictive entropy {expected.predictive_entropy[0]:.3f} nats" in done.stdout
    assert f"mutual information {expected.mutual_information[0]:.3f} nats" in done.stdout


def test_one_member_has_nobody_to_disagree_with(predict, pictures):
    done = predict(pictures[0], "--member", "1")
    assert done.exit_code == 0
    assert "mean" not in done.stdout
    assert "mutual information" not in done.stdout


def test_labels_name_the_classes(predict, pictures, tmp_path, expected):
    names = ["cat", "dog", "[red]fox[/red]", "owl", "yak"]
    (tmp_path / "labels.txt").write_text("\n".join(names), encoding="utf-8")
    done = predict(pictures[0], "--labels", tmp_path / "labels.txt")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in names)


def test_mean_and_std_change_the_prediction_as_they_should(predict, pictures, built):
    done = predict(pictures[0], "--member", "0", "--mean", "0.5,0.4,0.3", "--std", "0.2", "--json")
    (item,) = json.loads(done.stdout)
    pixels = np.asarray(Image.open(pictures[0])).astype(np.float32).transpose(2, 0, 1)[np.newaxis] / 255
    image = (pixels - np.float32([0.5, 0.4, 0.3]).reshape(3, 1, 1)) / np.float32(0.2)
    logits = load(built.path, provider="cpu").predict(image.astype(np.float32), member=0)[0]
    np.testing.assert_allclose(item["members"]["0"]["logits"], logits, rtol=1e-3, atol=1e-4)


def test_another_size_needs_resize(predict, tmp_path):
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
    "std of zero": (("--std", "0"), "std positive"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_answered_exits_with_2(predict, pictures, arguments, message):
    done = predict(pictures[0], *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_folder_that_is_no_bundle_exits_with_2(pictures, tmp_path):
    done = CliRunner().invoke(cli, ["predict", str(tmp_path), pictures[0]])
    assert done.exit_code == 2
    assert "is not a bundle" in done.stderr


def test_a_damaged_bundle_exits_with_2_and_names_the_file(bundle, pictures):
    with (bundle / "weights.bin").open("r+b") as file:
        file.write(b"\x7f")
    done = CliRunner().invoke(cli, ["predict", str(bundle), pictures[0]])
    assert done.exit_code == 2
    assert "weights.bin is damaged" in done.stderr


def test_predicting_loads_neither_torch_nor_onnx(built, pictures):
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'onnx_ir'): sys.modules[name] = None\n"
        f"from hnexport.cli.main import cli\ncli(['predict', {str(built.path)!r}, {pictures[0]!r}, '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["image"] == "first.png"


def test_pictures_of_several_kinds_are_predicted_in_one_call(predict, pictures, tmp_path):
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


def test_what_a_picture_leaves_open_is_asked_for(predict, pictures, tmp_path):
    picture = Image.open(pictures[0])
    picture.save(tmp_path / "frames.webp", save_all=True, append_images=[picture.rotate(90)])
    picture.putalpha(7)
    picture.save(tmp_path / "clear.png")
    for name, option in (("frames.webp", "--frame 0"), ("clear.png", "--background white")):
        done = predict(tmp_path / name)
        assert done.exit_code == 2
        assert option in " ".join(done.stderr.split())
        assert predict(tmp_path / name, *option.split()).exit_code == 0


def test_a_background_that_is_no_colour_is_refused(predict, pictures):
    done = predict(pictures[0], "--background", "whit")
    assert done.exit_code == 2
    assert "is no colour" in done.stderr
