"""`hnexport build` and `convert` of trained ensembles: real hypnettorch networks, made on the spot."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from fixture_types import Hnexport
from hypnettorch_ensembles import Case, Ensemble, build, flat_hwc, relative_error
from numpy.typing import NDArray
from safetensors.torch import save_file
from thorough import first
from torch import Tensor

from hnexport.bundle import read_manifest
from hnexport.networks.wide_resnet.checkpoints import load_checkpoint

CASE = Case(n=1, k=1, in_shape=(8, 8, 3))
SIZE = ("--image", "3,8,8")


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return build(CASE)


@pytest.fixture
def checkpoint(ensemble: Ensemble, tmp_path: Path) -> Path:
    torch.save(ensemble.state_dicts(), tmp_path / "ensemble.pt")
    return tmp_path / "ensemble.pt"


def check_predictions(
    folder: Path, ensemble: Ensemble, images: Tensor, feed: NDArray[Any] | NDArray[np.unsignedinteger]
) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    for member in range(CASE.members):
        found = session.run(["logits"], {"cond_id": np.array(member), "image": feed})[0]
        assert relative_error(torch.from_numpy(found), ensemble.predict(member, flat_hwc(images))) <= 1e-5


def trained_outputs(ensemble: Ensemble, path: Path, members: range | list[Any]) -> Path:
    """A reference of what hypnettorch itself computes."""
    images = ensemble.images(3)
    logits = torch.stack([ensemble.predict(member, flat_hwc(images)) for member in members])
    save_file({"input.image": images.contiguous(), "output.logits": logits}, path)
    return path


def test_a_trained_ensemble_predicts_what_it_did_in_hypnettorch(
    hnexport: Hnexport, checkpoint: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    reference = ("--reference", trained_outputs(ensemble, tmp_path / "trained.safetensors", range(CASE.members)))
    done = hnexport("build", "--hypnettorch", checkpoint, *SIZE, *reference, "--out", "here", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parity"]["passed"] is True
    assert json.loads(done.stdout)["as_trained"]["outputs"] == ["logits"]
    manifest = read_manifest(tmp_path / "here")
    assert manifest.members == CASE.members
    assert manifest.origin.startswith("hypnettorch ensemble.pt (sha256 ")
    images = ensemble.images(3)
    check_predictions(tmp_path / "here", ensemble, images, images.numpy())


def test_another_ensemble_than_the_trained_one_is_not_published(
    hnexport: Hnexport, checkpoint: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    reference = trained_outputs(ensemble, tmp_path / "trained.safetensors", [0, 0, *range(2, CASE.members)])
    done = hnexport("build", "--hypnettorch", checkpoint, *SIZE, "--reference", reference, "--out", "here")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "trained.safetensors: member 1, output logits: 3 of 3 samples are others than the trained model's" in said
    assert "nothing was published" in said
    assert not (tmp_path / "here").exists()


@pytest.mark.thorough
def test_a_trained_ensemble_may_be_built_with_float16_bases(
    hnexport: Hnexport, checkpoint: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    assert hnexport("convert", checkpoint, "ensemble.safetensors", *SIZE).returncode == 0
    for name, source in {
        "one": ("--hypnettorch", checkpoint, *SIZE),
        "two": ("--checkpoint", "ensemble.safetensors"),
    }.items():
        done = hnexport("build", *source, "--bases", "float16", "--out", name, "--formats", "onnx", "--json")
        assert done.returncode == 0, done.stderr
        value = json.loads(done.stdout)
        assert value["parity"]["passed"] is True
        assert 1e-6 < value["basis_rounding"]["logits"] < 1e-2
    assert (tmp_path / "one/weights.bin").read_bytes() == (tmp_path / "two/weights.bin").read_bytes()
    images = ensemble.images(3)
    session = onnxruntime.InferenceSession(tmp_path / "one/model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"cond_id": np.array(1), "image": images.numpy()})[0]
    assert 1e-6 < relative_error(torch.from_numpy(found), ensemble.predict(1, flat_hwc(images))) <= 1e-2


@pytest.mark.thorough
def test_two_files_and_a_native_checkpoint_give_the_same_weights(
    hnexport: Hnexport, checkpoint: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    for name, state in ensemble.state_dicts().items():
        torch.save(state, tmp_path / f"{name}.pt")
    done = hnexport("convert", checkpoint, "ensemble.safetensors", *SIZE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "ensemble.safetensors"
    sources = {
        "one": ("--hypnettorch", checkpoint, *SIZE),
        "two": ("--hnet", "hnet.pt", "--mnet", "mnet.pt", *SIZE),
        "native": ("--checkpoint", "ensemble.safetensors"),
    }
    for name, source in sources.items():
        done = hnexport("build", *source, "--out", name, "--formats", "onnx")
        assert done.returncode == 0, done.stderr
    weights = {name: (tmp_path / name / "weights.bin").read_bytes() for name in sources}
    assert weights["one"] == weights["two"] == weights["native"]


@pytest.mark.thorough
def test_a_wrapped_checkpoint_with_two_copies_is_read_where_a_prefix_says_which(
    hnexport: Hnexport, ensemble: Ensemble, tmp_path: Path
) -> None:
    states = ensemble.state_dicts()
    averaged = {
        f"module.{network}._orig_mod.{name}": tensor * 2 if tensor.is_floating_point() else tensor
        for network, state in states.items()
        for name, tensor in state.items()
    }
    model = {f"model.{network}.{name}": tensor for network, state in states.items() for name, tensor in state.items()}
    content = {"state_dict": {**model, "criterion.weight": torch.ones(3)}, "averaged": averaged, "epoch": 3}
    torch.save(content, tmp_path / "run.pt")
    for command in (("build", "--hypnettorch", "run.pt", "--out", "here"), ("convert", "run.pt", "out.safetensors")):
        done = hnexport(*command, *SIZE)
        assert done.returncode == 2
        said = " ".join(done.stderr.split())
        assert "say which: --hnet-prefix state_dict.model.hnet or --hnet-prefix averaged.module.hnet._orig_mod" in said
        assert "run.pt holds 'state_dict.model.hnet' (" in said
        assert "'state_dict.criterion' (1 tensor)" in said
        assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]
    chosen = ("--hnet-prefix", "state_dict.model.hnet", "--mnet-prefix", "state_dict.model.mnet")
    done = hnexport("build", "--hypnettorch", "run.pt", *chosen, *SIZE, "--out", "here", "--formats", "onnx")
    assert done.returncode == 0, done.stderr
    images = ensemble.images(3)
    check_predictions(tmp_path / "here", ensemble, images, images.numpy())
    done = hnexport("build", "--members", "2", "--hnet-prefix", "x")
    assert done.returncode == 2
    assert "--hnet-prefix goes with --hnet or --hypnettorch" in " ".join(done.stderr.split())


@pytest.mark.thorough
def test_preprocessing_and_layouts_are_part_of_the_graph(
    hnexport: Hnexport, checkpoint: Path, ensemble: Ensemble, tmp_path: Path
) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    numbers = [",".join(map(str, values)) for values in (mean, std)]
    done = hnexport(
        *("build", "--hypnettorch", checkpoint, *SIZE, "--out", "raw", "--formats", "onnx"),
        *("--preprocess", "uint8", "--mean", numbers[0], "--std", numbers[1]),
    )
    assert done.returncode == 0, done.stderr
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    normalised = torch.from_numpy(((pixels / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    check_predictions(tmp_path / "raw", ensemble, normalised, pixels)
    done = hnexport(
        *("build", "--hypnettorch", checkpoint, *SIZE, "--out", "flat", "--formats", "onnx"),
        *("--image-layout", "flat-hwc"),
    )
    assert done.returncode == 0, done.stderr
    images = ensemble.images(2)
    check_predictions(tmp_path / "flat", ensemble, images, flat_hwc(images).numpy())


def test_an_existing_file_is_not_overwritten_without_force(
    hnexport: Hnexport, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.safetensors").write_text("precious")
    done = hnexport("convert", checkpoint, "out.safetensors", *SIZE)
    assert done.returncode == 2
    assert "out.safetensors exists" in done.stderr
    done = hnexport("convert", checkpoint, "out.safetensors", *SIZE, "--force")
    assert done.returncode == 2
    assert "is not a native checkpoint: only native checkpoints are replaced" in " ".join(done.stderr.split())
    assert (tmp_path / "out.safetensors").read_text() == "precious"
    (tmp_path / "out.safetensors").unlink()
    assert hnexport("convert", checkpoint, "out.safetensors", *SIZE).returncode == 0
    assert hnexport("convert", checkpoint, "out.safetensors", *SIZE).returncode == 2
    assert hnexport("convert", checkpoint, "out.safetensors", *SIZE, "--force").returncode == 0
    assert load_checkpoint(tmp_path / "out.safetensors").spec.members == CASE.members


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        3,
        [
            pytest.param(["build"], "give --members, or a trained ensemble", id="nothing to build"),
            pytest.param(["build", "--hypnettorch", "absent.pt"], "absent.pt", id="no such file"),
            pytest.param(["build", "--hypnettorch", "ensemble.pt", "--members", "7"], "7", id="contradicted members"),
            pytest.param(
                ["build", "--hypnettorch", "ensemble.pt", "--checkpoint", "x"], "two sources", id="two sources"
            ),
            pytest.param(["build", "--hypnettorch", "ensemble.pt", "--seed", "1"], "--seed is for random", id="seed"),
            pytest.param(
                ["build", "--checkpoint", "ensemble.pt", "--classes", "3"], "leave out --classes", id="specification"
            ),
            pytest.param(["build", "--members", "2", "--mnet", "x"], "--mnet goes with --hnet", id="mnet alone"),
            pytest.param(
                ["build", "--hypnettorch", "ensemble.pt", "--preprocess", "uint8"],
                "needs --mean and --std",
                id="no mean",
            ),
            pytest.param(["build", "--members", "2", "--mean", "1"], "give both, --std 1 where there", id="mean alone"),
            pytest.param(
                ["build", "--hypnettorch", "ensemble.pt", "--image-layout", "flat-hwc"],
                "give --image CHANNELS,HEIGHT,WIDTH",
                id="flat images of any shape",
            ),
            pytest.param(["build", "--members", "2", "--mean", "a"], "not comma-separated numbers", id="mean in words"),
            pytest.param(["convert", "ensemble.pt"], "give CKPT and OUT", id="convert without target"),
        ],
    ),
)
def test_contradictions_are_clear_errors_and_leave_nothing(
    hnexport: Hnexport, checkpoint: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = hnexport(*arguments)
    assert done.returncode == 2, done.stdout
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.pt"]
