"""`hnexport build`, `convert` and `inspect` of late-phase state dicts."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from fixture_types import Hnexport
from late_phase import LatePhase
from safetensors.torch import save_file
from thorough import first
from torch import Tensor

from hnexport.bundle import read_manifest
from hnexport.networks.wide_resnet.checkpoints import load_checkpoint
from hnexport.rows import relative_l2

PLAIN = LatePhase(depth=10, width=1, members=2)
BANKS = LatePhase(
    depth=10,
    width=3,
    members=2,
    shared=frozenset({"batchnorm"}),
    banks=frozenset({"input_layer", "adapter", "conv_block", "head"}),
)
SIZE = ("--image", "3,8,8")
IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.save({"model": PLAIN.state_dict()}, tmp_path / "late.pt")
    return tmp_path / "late.pt"


def check(bundle: Path, case: LatePhase, state: dict[str, Tensor], *, members: int, average: bool = False) -> None:
    """What the graph computes is what the oracle computes, to float32 rounding."""
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    for member in range(members):
        found = session.run(["logits"], {"cond_id": np.array(member), "image": IMAGES.numpy()})[0]
        expected = case.logits(state, member, IMAGES, average=average).numpy()
        assert relative_l2(found.astype(np.float64), expected).max() < 1e-6


@pytest.mark.thorough
def test_the_banks_of_a_late_phase_network_become_a_verified_bundle(hnexport: Hnexport, tmp_path: Path) -> None:
    state = BANKS.state_dict()
    torch.save(state, tmp_path / "banks.pt")
    reference = torch.stack([BANKS.logits(state, member, IMAGES) for member in range(2)]).float()
    save_file({"input.image": IMAGES, "output.logits": reference}, tmp_path / "trained.safetensors")
    done = hnexport(
        *("build", "--checkpoint", "banks.pt", *SIZE, "--out", "here", "--reference", "trained.safetensors", "--json")
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parity"]["passed"] is True
    assert json.loads(done.stdout)["as_trained"]["relative_l2"] < 1e-6
    (assumed,) = json.loads(done.stdout)["assumed"]
    assert assumed.startswith("images that are normalised as in training")
    spec = read_manifest(tmp_path / "here").source.spec
    assert spec["network"]["shortcut_input"] == "preactivated"
    assert spec["hypernet"]["chunking"] == "halves"
    check(tmp_path / "here", BANKS, state, members=2)


@pytest.mark.thorough
def test_the_average_of_the_members_is_converted_and_built(hnexport: Hnexport, trained: Path, tmp_path: Path) -> None:
    done = hnexport("convert", trained, "mean.safetensors", *SIZE, "--average-members")
    assert done.returncode == 0, done.stderr
    assert "from late-phase late.pt (sha256" in done.stdout
    assert load_checkpoint(tmp_path / "mean.safetensors").spec.members == 1
    built = hnexport("build", "--checkpoint", "mean.safetensors", "--formats", "onnx", "--out", "mean")
    assert built.returncode == 0, built.stderr
    told = " ".join(built.stdout.split())
    assert "wrn-10-1-batch-ensemble-1, 1 member, from hnexport mean.safetensors (sha256" in told
    assert NORMALISATION in told
    check(tmp_path / "mean", PLAIN, PLAIN.state_dict(), members=1, average=True)


SIZE_ASSUMED = (
    "assumed: images of 32x32, since no tensor shows their height and width; --image 3,HEIGHT,WIDTH says others"
)
NORMALISATION = "assumed: images that are normalised as in training before they reach the graph; --mean … --std … says"


@pytest.mark.thorough
def test_what_was_assumed_is_told_until_somebody_says_it(hnexport: Hnexport, trained: Path) -> None:
    nothing = " ".join(hnexport("convert", trained, "native.safetensors").stdout.split())
    assert SIZE_ASSUMED in nothing
    assert NORMALISATION in nothing
    again = " ".join(hnexport("inspect", "native.safetensors").stdout.split())
    assert SIZE_ASSUMED in again
    assert NORMALISATION in again
    pixels = ("--preprocess", "uint8", "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2")
    everything = hnexport("convert", trained, "said.safetensors", *SIZE, *pixels)
    assert everything.returncode == 0, everything.stderr
    assert "assumed" not in everything.stdout


def test_inspect_says_what_a_checkpoint_is(hnexport: Hnexport, trained: Path, tmp_path: Path) -> None:
    shown = hnexport("inspect", trained)
    assert shown.returncode == 0, shown.stderr
    assert "a late-phase state dict: wrn-10-1-batch-ensemble-2, 2 members, from late-phase late.pt" in shown.stdout
    assert hnexport("convert", trained, "native.safetensors").returncode == 0
    value = json.loads(hnexport("inspect", "native.safetensors", "--json").stdout)
    assert value["kind"] == "a native checkpoint"
    assert value["spec"]["network"]["shortcut_input"] == "preactivated"
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
    unknown = hnexport("inspect", "other.pt")
    assert unknown.returncode == 2
    assert "hnet tensor 'weight' belongs to nothing" in unknown.stderr


def test_of_several_networks_inspect_says_which_command_takes_the_prefix(hnexport: Hnexport, tmp_path: Path) -> None:
    state = PLAIN.state_dict()
    other = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"swa_model": state, "model": other}, tmp_path / "both.pt")
    done = hnexport("inspect", "both.pt")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "say which: --mnet-prefix swa_model" in said
    assert "`hnexport convert both.pt NEW.safetensors` takes such options" in said


REFUSED = {
    "what the state dict says": (
        ("--members", "2"),
        "a late-phase state dict says all but the size of its images: leave out --members",
    ),
    "hypnettorch's prefix": (
        ("--hnet-prefix", "x"),
        "a late-phase state dict says all but the size of its images: leave out --hnet-prefix",
    ),
    "another prefix": (("--mnet-prefix", "ema"), "--mnet-prefix ema: no late-phase network lies there"),
}


@pytest.mark.parametrize("name", first(1, REFUSED))
def test_what_contradicts_a_late_phase_state_dict_is_refused(hnexport: Hnexport, trained: Path, name: str) -> None:
    options, message = REFUSED[name]
    done = hnexport("build", "--checkpoint", trained, *options)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


@pytest.mark.thorough
def test_only_members_of_a_late_phase_network_are_averaged(hnexport: Hnexport, trained: Path) -> None:
    random = hnexport("build", "--members", "2", "--average-members")
    hnexport("convert", trained, "native.safetensors")
    native = hnexport("build", "--checkpoint", "native.safetensors", "--average-members")
    for done in (random, native):
        assert done.returncode == 2
        assert "--average-members goes with a late-phase state dict" in " ".join(done.stderr.split())


@pytest.mark.thorough
def test_random_weights_have_preactivated_shortcuts_where_that_is_asked(hnexport: Hnexport, tmp_path: Path) -> None:
    options = ("--members", "1", "--network", "wrn-10-1", "--recipe", "batch-ensemble", "--formats", "onnx")
    done = hnexport("build", *options, *SIZE, "--shortcut-input", "preactivated", "--out", "here")
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "here").source.spec["network"]["shortcut_input"] == "preactivated"
