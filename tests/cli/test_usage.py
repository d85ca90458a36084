"""What `build` and `convert` are told beside the tensors travels to where it is used."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from fixture_types import Hnexport
from hypnettorch_ensembles import Case, build
from safetensors.torch import save_file
from thorough import first
from torch import Tensor

from hnexport.bundle import read_manifest
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, load_checkpoint, random_checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.spec import ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.spec import HypernetSpec
from hnexport.spec.usage import Normalisation, Usage

NAMES = ("cat", "dog", "ship")
NORMALISED = ("--mean", "0.5", "--std", "0.25")
SAID = (*NORMALISED, "--labels", "names.txt", "--license", "cc-by-4.0")
USAGE = Usage(normalisation=Normalisation(mean=(0.5,), std=(0.25,)), class_names={"logits": NAMES}, license="cc-by-4.0")
SMALL = ("--members", "2", "--network", "wrn-10-1", "--image", "3,8,8", "--classes", "3")
ASSUMED = {
    "size": "assumed: images of 32x32, since no tensor shows",
    "normalisation": "assumed: images that are normalised as in training before they reach the graph; --mean … --std …",
    "assembly": "assumed: tensors that are put together in the order of hypnettorch's own containers; a build with "
    "--reference FILE",
}
FACTORY = """
import torch
from torch import nn
from hnexport import Ensemble, Logits, Normalisation, Usage

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(12, 3)

    def forward(self, image):
        return self.inner(image.flatten(1))

def plain():
    torch.manual_seed(0)
    return Ensemble.from_modules(
        [Net().eval() for _ in range(2)],
        example_inputs={"image": torch.zeros(1, 3, 2, 2)},
        outputs={"logits": Logits(axis=1)},
    )

def told():
    usage = Usage(normalisation=Normalisation(mean=(0.1,)), class_names={"logits": ("a", "b", "c")}, license="mit")
    return plain().with_usage(usage)

def rows():
    return Ensemble.from_modules([nn.Linear(4, 3).eval() for _ in range(2)], example_inputs=torch.zeros(1, 4))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    (tmp_path / "train.py").write_text(FACTORY)
    return tmp_path


@pytest.fixture(scope="module")
def trained() -> dict[str, dict[str, Tensor]]:
    return build(Case(n=1, k=1, in_shape=(8, 8, 3), num_classes=3)).state_dicts()


def metadata(path: Path) -> dict[Any, Any]:
    return {item.key: item.value for item in onnx.load(path, load_external_data=False).metadata_props}


def flat(text: str) -> str:
    return " ".join(text.split())


def test_what_is_said_is_in_bundle_onnx_files_members_files_and_inspect(hnexport: Hnexport, folder: Path) -> None:
    done = hnexport("build", *SMALL, *SAID, "--formats", "onnx", "--out", "here", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["assumed"] == []
    assert read_manifest(folder / "here").usage == USAGE
    written = json.loads((folder / "here/manifest.json").read_text())["usage"]
    assert hnexport("member", "here", "1", "--out", "one.onnx").returncode == 0
    for path in ("here/model.onnx", "here/ensemble.onnx", "here/hypernet.onnx", "here/network.onnx", "one.onnx"):
        assert json.loads(metadata(folder / path)["hnexport.usage"]) == written
    shown = flat(hnexport("inspect", "here").stdout)
    for line in (
        "pictures: (pixel / 255 - mean) / std, mean 0.5, std 0.25",
        "3 classes of logits: cat, dog, ship",
        "licence: cc-by-4.0",
    ):
        assert line in shown
    assert "assumed" not in shown
    value = json.loads(hnexport("inspect", "here", "--json").stdout)
    assert (value["manifest"]["usage"], value["assumed"]) == (written, [])


def small_checkpoint() -> Checkpoint:
    network = WideResNetSpec.from_name("wrn-10-1", classes=3, image=ImageSpec(channels=3, height=8, width=8))
    return random_checkpoint(PipelineSpec(network=network, members=2, hypernet=HypernetSpec()))


def test_random_weights_say_that_pictures_are_pixels(hnexport: Hnexport, folder: Path) -> None:
    assert small_checkpoint().usage == Usage(normalisation=Normalisation())
    save_checkpoint(folder / "random.safetensors", small_checkpoint())
    shown = flat(hnexport("inspect", "random.safetensors").stdout)
    assert "pictures: pixel / 255 " in shown
    assert "assumed" not in shown


@pytest.mark.thorough
def test_an_imported_ensemble_keeps_what_is_said_and_what_was_assumed(
    hnexport: Hnexport, folder: Path, trained: dict[str, dict[str, Tensor]]
) -> None:
    torch.save(trained, folder / "trained.pt")
    first = hnexport("convert", "trained.pt", "first.safetensors")
    assert first.returncode == 0, first.stderr
    for line in ASSUMED.values():
        assert line in flat(first.stdout)
        assert line in flat(hnexport("inspect", "trained.pt").stdout)
        assert line in flat(hnexport("inspect", "first.safetensors").stdout)
    again = hnexport("convert", "first.safetensors", "second.safetensors")
    assert again.returncode == 2
    assert "is a native checkpoint already: `hnexport build --checkpoint first.safetensors` takes" in flat(again.stderr)
    done = hnexport("convert", "trained.pt", "said.safetensors", "--image", "3,8,8", *SAID)
    assert done.returncode == 0, done.stderr
    assert flat(done.stdout).count("assumed: ") == 1
    assert load_checkpoint(folder / "said.safetensors").usage == USAGE.updated(Usage(assumed=("assembly",)))
    shown = flat(hnexport("inspect", "said.safetensors").stdout)
    assert "3 classes of logits: cat, dog, ship" in shown
    assert ASSUMED["assembly"] in shown
    value = json.loads(hnexport("inspect", "said.safetensors", "--json").stdout)
    assert value["usage"]["license"] == "cc-by-4.0"
    assert len(value["assumed"]) == 1
    built = hnexport("build", "--checkpoint", "said.safetensors", "--formats", "onnx", "--license", "mit", "--out", "b")
    assert built.returncode == 0, built.stderr
    assert ASSUMED["assembly"] in flat(built.stdout)
    usage = read_manifest(folder / "b").usage
    assert usage == USAGE.updated(Usage(assumed=("assembly",), license="mit"))
    assert ASSUMED["assembly"] in flat(hnexport("inspect", "b").stdout)


@pytest.mark.thorough
def test_what_a_checkpoint_says_of_pictures_can_go_into_the_graph(hnexport: Hnexport, folder: Path) -> None:
    save_checkpoint(folder / "said.safetensors", small_checkpoint().with_usage(USAGE))
    pixels = ("--preprocess", "uint8", "--formats", "onnx", "--out", "here")
    done = hnexport("build", "--checkpoint", "said.safetensors", *pixels)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(folder / "here")
    assert manifest.source.spec["preprocess"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    assert manifest.usage == Usage(class_names=USAGE.class_names, license=USAGE.license)


@pytest.mark.thorough
def test_a_factory_may_say_it_and_the_command_wins(hnexport: Hnexport, folder: Path) -> None:
    build = ("build", "--from", "train.py:told", "--formats", "onnx", "--out")
    done = hnexport(*build, "own")
    assert done.returncode == 0, done.stderr
    own = Usage(normalisation=Normalisation(mean=(0.1,)), class_names={"logits": ("a", "b", "c")}, license="mit")
    assert read_manifest(folder / "own").usage == own
    done = hnexport(*build, "said", *NORMALISED, "--labels", "names.txt")
    assert done.returncode == 0, done.stderr
    assert read_manifest(folder / "said").usage == USAGE.updated(Usage(license="mit"))


@pytest.mark.thorough
def test_of_images_nobody_spoke_of_the_normalisation_is_assumed_and_files_stay_as_they_are(
    hnexport: Hnexport, folder: Path
) -> None:
    done = hnexport("build", "--from", "train.py:plain", "--formats", "onnx", "--out", "here")
    assert done.returncode == 0, done.stderr
    assert ASSUMED["normalisation"] in flat(done.stdout)
    assert ASSUMED["normalisation"] in flat(hnexport("inspect", "here").stdout)
    assert "usage" not in json.loads((folder / "here/manifest.json").read_text())
    assert "hnexport.usage" not in metadata(folder / "here/model.onnx")


@pytest.mark.thorough
def test_a_trained_models_outputs_confirm_what_was_assumed_of_its_tensors(hnexport: Hnexport, folder: Path) -> None:
    case = build(Case(n=1, k=1, in_shape=(8, 8, 3), num_classes=3))
    torch.save(case.state_dicts(), folder / "trained.pt")
    images = case.images(2)
    logits = torch.stack([case.predict(member, images.permute(0, 2, 3, 1).flatten(1)) for member in range(3)])
    save_file({"input.image": images.contiguous(), "output.logits": logits}, folder / "outputs.safetensors")
    done = hnexport(
        *("build", "--hypnettorch", "trained.pt", "--image", "3,8,8", "--reference", "outputs.safetensors"),
        *("--formats", "onnx", "--out", "here", "--json"),
    )
    assert done.returncode == 0, done.stderr
    (assumed,) = json.loads(done.stdout)["assumed"]
    assert ASSUMED["normalisation"] in f"assumed: {assumed}"
    assert read_manifest(folder / "here").usage == Usage(assumed=("normalisation",))


REFUSED = {
    "half a normalisation": (("--std", "0.25"), "--std goes with --mean: give both, --mean 0 where there was none"),
    "channels": (("--mean", "0.5,0.4", "--std", "0.25"), "mean needs 1 or 3 numbers, one a channel, found 2"),
    "std of zero": (("--mean", "0.5", "--std", "0"), "mean and std must be finite and std positive"),
    "other classes": (("--labels", "names.txt", "--classes", "4"), "expected 4 labels, one a line, found 3"),
    "licence": (("--license", "all rights"), "'all rights' is no SPDX identifier"),
    "no pictures": (("--from", "train.py:rows", *NORMALISED), "mean and std are of pictures, and no input takes any"),
    "no classes": (("--from", "train.py:rows", "--labels", "names.txt"), "--labels needs one output of logits"),
}


@pytest.mark.parametrize(("arguments", "message"), first(2, REFUSED.values()), ids=REFUSED.keys())
def test_what_cannot_be_said_is_refused_before_anything_is_built(
    hnexport: Hnexport, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    small = () if "--from" in arguments else SMALL
    done = hnexport("build", *small, *arguments, "--out", "here")
    assert done.returncode == 2, done.stdout
    assert message in flat(done.stderr)
    assert not (folder / "here").exists()
