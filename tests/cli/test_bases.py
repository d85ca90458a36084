"""`hnexport build --bases` and `hnexport convert --bases`: what rounding changed is told, and refused where asked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixture_types import Hnexport
from hypnettorch_ensembles import Case
from hypnettorch_ensembles import build as trained
from late_phase import LatePhase
from thorough import first

from hnexport.bundle import read_manifest
from hnexport.networks.wide_resnet.checkpoints import load_checkpoint
from hnexport.spec import BasisDtype
from hnexport.spec.bases import basis_dtype

SIZE = ("--image", "3,8,8")
SMALL = ("build", "--network", "wrn-10-1", *SIZE, "--members", 2, "--formats", "onnx", "--out", "here")
BANKS = LatePhase(
    depth=10,
    width=3,
    members=2,
    shared=frozenset({"batchnorm"}),
    banks=frozenset({"input_layer", "adapter", "conv_block", "head"}),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    images = random.normal(size=(40, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "held-out.npz", image=images, label=random.integers(0, 10, 40))
    np.savez(tmp_path / "images.npz", image=images)
    return tmp_path / "held-out.npz"


def left(folder: Path) -> list[Any]:
    """What a command left behind."""
    return sorted(path.name for path in folder.iterdir() if path.suffix not in (".npz", ".pt"))


@pytest.mark.thorough
def test_integers_are_built_within_every_limit_and_what_they_change_is_told(
    hnexport: Hnexport, data: Path, tmp_path: Path
) -> None:
    limits = ("--max-logit-change", 1, "--max-accuracy-drop", 0.5, "--min-agreement", 0.5)
    done = hnexport(*SMALL, "--bases", "int4", "--judge-on", data, *limits)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "here")
    assert basis_dtype(manifest.stored) is BasisDtype.INT4
    judged = manifest.basis_rounding.judged
    assert (judged.data, judged.samples) == ("held-out.npz", 40)
    said = " ".join(done.stdout.split())
    assert "bases in int4, weights generated in float32: rounding changed a basis by" in said
    assert f"on held-out.npz, 40 samples: the mean of all members changed by {judged.relative_l2:.1e}" in said
    assert f"accuracy {judged.accuracy:.4f}, before {judged.accuracy_before:.4f}" in said
    shown = " ".join(hnexport("inspect", "here").stdout.split())
    assert f"{judged.agreement:.2%} of its answers are the same" in shown
    told = json.loads(hnexport("inspect", "here", "--json").stdout)["manifest"]["basis_rounding"]
    assert told["judged"]["agreement"] == judged.agreement
    assert "on held-out.npz, 40 samples" in (tmp_path / "here/README.md").read_text()


TOO_MUCH = {
    "a row": (("--max-logit-change", 1e-6), "allowed 1e-06: store the bases in more bits; nothing was published"),
    "accuracy": (
        ("--judge-on", "held-out.npz", "--max-accuracy-drop", -1),
        "less, allowed -1: store the bases in more bits; nothing was published",
    ),
    "answers": (
        ("--judge-on", "held-out.npz", "--min-agreement", 1),
        "of the samples with rounded bases, at least 1 was asked for: store the bases in more bits; nothing was",
    ),
}


@pytest.mark.parametrize("name", first(1, TOO_MUCH))
def test_rounding_that_changes_more_than_is_allowed_is_another_answer_and_leaves_nothing(
    hnexport: Hnexport, data: Path, tmp_path: Path, name: str
) -> None:
    limits, message = TOO_MUCH[name]
    done = hnexport(*SMALL, "--bases", "int4", *limits)
    assert done.returncode == 1, done.stdout
    assert message in " ".join(done.stderr.split())
    assert left(tmp_path) == []


MISUSED = {
    "no data": (("--bases", "int8", "--max-accuracy-drop", 0.1), "--max-accuracy-drop goes with --judge-on DATA"),
    "nothing rounded": (("--min-agreement", 0.9), "is for --bases float16, int8 or int4"),
    "no labels": (
        ("--bases", "int8", "--judge-on", "images.npz", "--max-accuracy-drop", 0.1),
        "images.npz: expected one array label or",
    ),
    "no file": (("--bases", "int8", "--judge-on", "absent.npz"), "absent.npz"),
}


@pytest.mark.parametrize("name", first(1, MISUSED))
def test_limits_that_cannot_be_judged_are_refused_before_anything_is_written(
    hnexport: Hnexport, data: Path, tmp_path: Path, name: str
) -> None:
    options, message = MISUSED[name]
    done = hnexport(*SMALL, *options)
    assert done.returncode == 2, done.stdout
    assert message in " ".join(done.stderr.split())
    assert left(tmp_path) == []


@pytest.mark.parametrize("kind", first(1, ["hypnettorch", "late-phase"]))
def test_a_checkpoint_is_converted_to_integers_and_says_what_building_it_so_says(
    hnexport: Hnexport, data: Path, tmp_path: Path, kind: str
) -> None:
    """From other code to rounded weights in one step; a bundle that is built of these has the same."""
    made = trained(Case(n=1, k=1, in_shape=(8, 8, 3))).state_dicts() if kind == "hypnettorch" else BANKS.state_dict()
    torch.save(made, tmp_path / "other.pt")
    refused = hnexport("convert", "other.pt", "c.safetensors", *SIZE, "--bases", "int8", "--max-logit-change", 1e-6)
    assert refused.returncode == 1
    assert "allowed 1e-06: store the bases in more bits; nothing was written" in " ".join(refused.stderr.split())
    assert left(tmp_path) == []
    limits = ("--max-logit-change", 0.9, "--judge-on", data, "--min-agreement", 0.1, "--max-accuracy-drop", 0.5)
    done = hnexport("convert", "other.pt", "c.safetensors", *SIZE, "--bases", "int8", *limits)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "c.safetensors").spec.hypernet.basis_dtype is BasisDtype.INT8
    source = ("--hypnettorch", "other.pt") if kind == "hypnettorch" else ("--checkpoint", "other.pt")
    built = hnexport("build", *source, *SIZE, "--bases", "int8", "--formats", "onnx", "--out", "b", "--json")
    assert built.returncode == 0, built.stderr
    rounding = json.loads(built.stdout)["basis_rounding"]
    said = " ".join(done.stdout.split())
    assert f"changed a basis by {rounding['bases']:.1e} and logits by {rounding['logits']:.1e} (relative L2" in said
    assert "on held-out.npz, 40 samples: the mean of all members changed by" in said


@pytest.mark.thorough
def test_a_checkpoint_of_integers_is_built_as_it_is_and_not_with_limits(hnexport: Hnexport, tmp_path: Path) -> None:
    torch.save(trained(Case(n=1, k=1, in_shape=(8, 8, 3))).state_dicts(), tmp_path / "other.pt")
    assert hnexport("convert", "other.pt", "c.safetensors", *SIZE, "--bases", "int4").returncode == 0
    build = ("build", "--checkpoint", "c.safetensors", "--formats", "onnx", "--out", "b")
    refused = hnexport(*build, "--bases", "int4", "--max-logit-change", 0.5)
    assert refused.returncode == 2
    assert "the bases are int4 already: what rounding them changed cannot be measured" in " ".join(
        refused.stderr.split()
    )
    assert not (tmp_path / "b").exists()
    done = hnexport(*build)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "b")
    assert basis_dtype(manifest.stored) is BasisDtype.INT4
    assert manifest.basis_rounding is None
