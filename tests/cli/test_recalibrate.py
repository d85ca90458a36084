"""`hnexport recalibrate`: a new checkpoint, and what changed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import small_spec, trained_tensors
from fixture_types import Hnexport
from numpy.typing import NDArray
from PIL import Image

from hnexport.networks.wide_resnet.checkpoints import Checkpoint, load_checkpoint, recalibrate, save_checkpoint
from hnexport.spec.usage import Normalisation, Usage

Given = tuple[Checkpoint, NDArray[np.floating]]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """A checkpoint, and 30 images in two files."""
    spec = small_spec("hypernet")
    checkpoint = Checkpoint(spec=spec, tensors=trained_tensors(spec), origin="a test")
    save_checkpoint(tmp_path / "one-set.safetensors", checkpoint)
    images = np.random.default_rng(0).normal(size=(30, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "a.npy", images[:20])
    np.save(tmp_path / "b.npy", images[20:])
    return checkpoint, images


def test_it_writes_a_checkpoint_with_statistics_of_each_member_and_says_what_changed(
    hnexport: Hnexport, given: Given, tmp_path: Path
) -> None:
    checkpoint, images = given
    before = (tmp_path / "one-set.safetensors").read_bytes()
    done = hnexport("recalibrate", "one-set.safetensors", "a.npy", "b.npy", "--out", "own.safetensors", "--batch", 15)
    assert done.returncode == 0, done.stderr
    assert "7 batch norms have statistics of each member, from 30 images in 2 batches" in " ".join(done.stdout.split())
    assert "there was one set for all members before" in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1] == "own.safetensors"
    assert (tmp_path / "one-set.safetensors").read_bytes() == before
    assert "mixture" not in done.stderr  # whoever mends it is not told to
    found = load_checkpoint(tmp_path / "own.safetensors")
    expected = recalibrate(checkpoint, torch.from_numpy(images), batch_size=15).checkpoint
    assert found.spec == expected.spec
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in expected.tensors.items())


def test_json_has_the_same(hnexport: Hnexport, given: Given) -> None:
    done = hnexport("recalibrate", "one-set.safetensors", "a.npy", "--out", "own.safetensors", "--json")
    report = json.loads(done.stdout)
    assert (report["out"], report["images"], report["batches"]) == ("own.safetensors", 20, 1)
    assert [set(change) for change in report["changes"]] == [{"member", "norm", "mean", "std"}] * 3


def test_pictures_are_normalised_as_somebody_said(hnexport: Hnexport, given: Given, tmp_path: Path) -> None:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    command = ("recalibrate", "one-set.safetensors", "0.png", "1.png", "2.png", "--out", "own.safetensors")
    done = hnexport(*command)
    assert done.returncode == 2
    assert "0.png: this ensemble does not say how training normalised pictures" in " ".join(done.stderr.split())
    done = hnexport(*command, "--mean", "0.5", "--std", "0.25")
    assert done.returncode == 0
    said = "pictures: (pixel/255 - mean) / std, mean 0.5, std 0.25, as the command says"
    assert said in " ".join(done.stdout.split())


def test_pictures_are_normalised_as_the_checkpoint_says(hnexport: Hnexport, given: Given, tmp_path: Path) -> None:
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    saying = given[0].with_usage(Usage(normalisation=Normalisation(mean=(0.5,), std=(0.25,))))
    save_checkpoint(tmp_path / "saying.safetensors", saying)
    done = hnexport("recalibrate", "saying.safetensors", "0.png", "1.png", "--out", "said.safetensors")
    assert done.returncode == 0, done.stderr
    assert "mean 0.5, std 0.25, as the checkpoint says" in " ".join(done.stdout.split())
    options = ("--mean", "0.5", "--std", "0.25", "--json")
    done = hnexport("recalibrate", "one-set.safetensors", "0.png", "1.png", "--out", "given.safetensors", *options)
    assert json.loads(done.stdout)["normalisation"] == {"by": "given", "mean": [0.5], "std": [0.25]}
    said, expected = (load_checkpoint(tmp_path / f"{name}.safetensors").tensors for name in ("said", "given"))
    assert all(torch.equal(said[name], tensor) for name, tensor in expected.items())


def test_the_given_checkpoint_is_never_replaced(hnexport: Hnexport, given: Given) -> None:
    same = hnexport("recalibrate", "one-set.safetensors", "a.npy", "--out", "./one-set.safetensors", "--force")
    assert same.returncode == 2
    assert "--out is CHECKPOINT itself" in same.stderr
    command = ("recalibrate", "one-set.safetensors", "a.npy", "--out", "own.safetensors")
    assert hnexport(*command).returncode == 0
    assert hnexport(*command).returncode == 2
    assert hnexport(*command, "--force").returncode == 0


def test_a_file_that_is_no_native_checkpoint_says_how_to_make_one(hnexport: Hnexport, given: Given) -> None:
    done = hnexport("recalibrate", "a.npy", "b.npy", "--out", "own.safetensors")
    assert done.returncode == 2
    assert "hnexport convert" in " ".join(done.stderr.split())


def test_a_file_of_torch_save_says_what_to_type(hnexport: Hnexport, given: Given, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "ensemble.pt")
    done = hnexport("recalibrate", "ensemble.pt", "b.npy", "--out", "own.safetensors")
    assert done.returncode == 2
    assert "`hnexport convert ensemble.pt NEW.safetensors` makes one" in " ".join(done.stderr.split())
