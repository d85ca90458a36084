"""`hnexport predict` of networks with several inputs: which file is which input, and what is refused."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from shared import Built
from thorough import first

from hnexport.bundle.manifest import Manifest
from hnexport.cli.main import cli
from hnexport.cli.predict_inputs import read_inputs
from hnexport.errors import RuntimeInputError
from hnexport.runtime import load
from hnexport.spec import BATCH, TensorSpec

PICTURES = {"mean": None, "std": None, "resize": False, "background": None, "frame": None}
TOKENS = np.array([[1, 2, 3], [4, 5, 6]], np.int64)
WEIGHTING = np.array([0.25, 0.75], np.float32)


@pytest.fixture
def manifest(built: Built) -> Manifest:
    """Of a network that takes tokens of any length and a number a sample."""
    inputs = (
        TensorSpec(name="tokens", dtype="int64", shape=(BATCH, "time")),
        TensorSpec(name="weighting", dtype="float32", shape=(BATCH,)),
    )
    return dataclasses.replace(built.manifest, inputs=(built.manifest.inputs[0], *inputs))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.save(tmp_path / "t=1.npy", TOKENS)
    np.save(tmp_path / "w.npy", WEIGHTING)
    np.save(tmp_path / "wide.npy", WEIGHTING.astype(np.float64))
    np.savez(tmp_path / "both.npz", tokens=TOKENS, weighting=WEIGHTING)
    np.savez_compressed(tmp_path / "small.npz", weighting=WEIGHTING, tokens=TOKENS)
    np.savez(tmp_path / "less.npz", tokens=TOKENS)
    np.savez(tmp_path / "more.npz", tokens=TOKENS, weighting=WEIGHTING, mask=TOKENS)
    np.savez(tmp_path / "objects.npz", tokens=np.array([[None]], object), weighting=WEIGHTING)
    return tmp_path


def test_inputs_are_given_by_name_in_any_order(manifest: Manifest, files: Path) -> None:
    named = [("weighting", files / "w.npy"), ("tokens", files / "t=1.npy")]
    found = read_inputs(manifest, (), named, PICTURES)
    assert np.array_equal(found.inputs["tokens"], TOKENS)
    assert np.array_equal(found.inputs["weighting"], WEIGHTING)
    assert (found.names, found.word) == (("sample 0", "sample 1"), "sample")


@pytest.mark.parametrize("name", ["both.npz", "small.npz"])
def test_one_archive_holds_every_input(manifest: Manifest, files: Path, name: str) -> None:
    found = read_inputs(manifest, (files / name,), (), PICTURES)
    assert np.array_equal(found.inputs["tokens"], TOKENS)
    assert np.array_equal(found.inputs["weighting"], WEIGHTING)
    assert found.names == (f"{name}[0]", f"{name}[1]")


def test_one_sample_may_come_without_its_batch_axis(manifest: Manifest, tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", TOKENS[0])
    np.save(tmp_path / "w.npy", WEIGHTING[0])
    named = [("tokens", tmp_path / "t.npy"), ("weighting", tmp_path / "w.npy")]
    found = read_inputs(manifest, (), named, PICTURES)
    assert (found.inputs["tokens"].shape, found.inputs["weighting"].shape) == ((1, 3), (1,))


REFUSED = {
    "an input is missing": ((), [("tokens", "t=1.npy")], "the input 'weighting' is missing: give --input weighting="),
    "an unknown input": (
        (),
        [("tokens", "t=1.npy"), ("weights", "w.npy")],
        "no input 'weights': this network takes tokens, weighting",
    ),
    "twice": ((), [("tokens", "t=1.npy"), ("tokens", "t=1.npy")], "--input tokens is given twice"),
    "another dtype": ((), [("tokens", "t=1.npy"), ("weighting", "wide.npy")], "wide.npy: expected float32"),
    "another shape": ((), [("tokens", "w.npy"), ("weighting", "t=1.npy")], "w.npy: expected int64"),
    "one file for two inputs": (("w.npy",), [], "takes 2 inputs: give --input tokens=FILE.npy --input weighting="),
    "both ways": (("w.npy",), [("tokens", "t=1.npy")], "as files or with --input, not both"),
    "an archive with too little": (("less.npz",), [], "less.npz has no array 'weighting': .*tokens, weighting"),
    "an archive with too much": (("more.npz",), [], "more.npz has an array 'mask' too many"),
    "pickled objects": (("objects.npz",), [], r"objects.npz\[tokens\] holds pickled Python objects"),
    "a missing file": ((), [("tokens", "none.npy"), ("weighting", "w.npy")], "none.npy cannot be read"),
}


@pytest.mark.parametrize(("given", "named", "message"), first(3, REFUSED.values()), ids=REFUSED.keys())
def test_what_cannot_be_the_inputs_is_refused(
    manifest: Manifest, files: Path, given: tuple[str, ...], named: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises((RuntimeInputError, click.UsageError), match=message):
        read_inputs(manifest, [files / one for one in given], [(name, files / one) for name, one in named], PICTURES)


def test_a_damaged_archive_is_refused_by_name(manifest: Manifest, files: Path) -> None:
    content = bytearray((files / "small.npz").read_bytes())
    content[60:90] = b"\x00" * 30
    (files / "damaged.npz").write_bytes(content)
    with pytest.raises(RuntimeInputError, match=r"damaged\.npz"):
        read_inputs(manifest, [files / "damaged.npz"], (), PICTURES)


def test_options_about_pictures_are_refused_for_arrays(manifest: Manifest, files: Path) -> None:
    with pytest.raises(click.UsageError, match="--resize says how pictures become an input"):
        read_inputs(manifest, [files / "both.npz"], (), {**PICTURES, "resize": True})


@pytest.fixture
def run(built: Built) -> Callable[..., Result]:
    def predict(*arguments: object) -> Result:
        return CliRunner().invoke(cli, ["predict", str(built.path), *map(str, arguments), "--provider", "cpu"])

    return predict


def test_an_image_may_be_given_by_its_name(run: Callable[..., Result], built: Built, tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    by_name, as_file = run("--input", f"image={tmp_path / 'x.npy'}", "--json"), run(tmp_path / "x.npy", "--json")
    assert (by_name.exit_code, as_file.exit_code) == (0, 0), by_name.output
    assert by_name.output.replace('"sample"', '"image"').replace("sample ", "x.npy[").count("logits") == 6
    assert re.findall(r"-?\d+\.\d+", by_name.output) == re.findall(r"-?\d+\.\d+", as_file.output)


@pytest.mark.parametrize("text", ["tokens", "=x.npy", "tokens="])
def test_what_is_no_name_and_file_is_a_usage_error(run: Callable[..., Result], text: str) -> None:
    done = run("--input", text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is not NAME=FILE" in done.stderr


def test_nothing_to_predict_is_a_usage_error(run: Callable[..., Result]) -> None:
    done = run()
    assert done.exit_code == 2
    assert "give files, or --input NAME=FILE.npy" in done.stderr


def test_outputs_are_written_under_the_names_of_the_ensemble(
    run: Callable[..., Result], built: Built, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    assert run(tmp_path / "x.npy", "--members", "2,0", "--out", tmp_path / "o.npz").exit_code == 0
    expected = load(built.path, provider="cpu", strategy="generated").predict_mean(images, members=[2, 0])
    with np.load(tmp_path / "o.npz") as found:
        assert set(found) == {
            "cond_ids", "member_logits", "mean_probabilities", "predictive_entropy", "mutual_information"
        }  # fmt: skip
        assert found["cond_ids"].tolist() == [2, 0]
        assert np.array_equal(found["member_logits"], expected.logits)
        assert np.array_equal(found["mutual_information"], expected.mutual_information)
    assert run(tmp_path / "x.npy", "--member", "1", "--out", tmp_path / "o.npy").exit_code == 0
    assert np.load(tmp_path / "o.npy").shape == (1, 2, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [("o.txt", "must end in .npz or .npy, or in .parquet to score a data set"), ("there.npz", "exists")],
    ids=["kind", "exists"],
)
def test_a_place_that_cannot_hold_the_outputs_is_refused_first(
    run: Callable[..., Result], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "there.npz").write_text("mine")
    done = run("missing.npy", "--out", tmp_path / name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert (tmp_path / "there.npz").read_text() == "mine"
