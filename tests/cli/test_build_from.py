"""`hnexport build --from`."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from fixture_types import Hnexport
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from thorough import first

from hnexport import Ensemble
from hnexport.bundle import read_manifest
from hnexport.bundle.golden import read_golden

SOURCE = """
import torch
from torch import nn
from hnexport import Ensemble, ModuleRecipe, Rule

def net(width):
    return nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, 3)).eval()

def networks(count=2, width=8):
    torch.manual_seed(0)
    return [net(width) for _ in range(count)]

def recipe(act="GELU"):
    torch.manual_seed(0)
    network = net(8)
    network[1] = getattr(nn, act)().eval()
    return network, ModuleRecipe(rules=(Rule("0.*", "generated"), Rule("*", "member")))

class Texts(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, tokens):
        return self.out(self.embedding(tokens).mean(1))

def texts():
    torch.manual_seed(0)
    return [Texts().eval(), Texts().eval()]

class Branch(nn.Linear):
    def forward(self, row):
        if row.sum() > 0:  # data
            return super().forward(row)
        return row[:, :3]

def branches():
    return [Branch(6, 3).eval(), Branch(6, 3).eval()]

class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(3, 6))

    def forward(self, task, row):
        return row * self.table[task]

def conditional():
    torch.manual_seed(0)
    return Conditional().eval()

def ensemble():
    return Ensemble.from_modules(networks(), example_inputs=torch.zeros(1, 6), name="mine")

def leaves():
    raise SystemExit(0)

def talks():
    print("epoch 1")
    return networks()

def fails():
    return networks()[5]
"""
ROW = ("--input", "input=float32[batch,6]")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SOURCE)
    return tmp_path


def test_a_list_of_modules_with_arguments(hnexport: Hnexport, train: Path) -> None:
    done = hnexport(
        *("build", "--from", "train.py:networks", "--arg", "count=3", "--arg", "width=5", *ROW),
        *("--output", "logits=logits", "--formats", "onnx", "--out", "here"),
    )
    assert done.returncode == 0, done.stderr
    assert "sequential-3, 3 members, from 3 modules Sequential" in done.stdout
    manifest = read_manifest(train / "here")
    assert (manifest.members, manifest.outputs[0].name, manifest.outputs[0].kind) == (3, "logits", "logits")
    assert {slot.name: slot.shape for slot in manifest.slots}["0.weight"] == (5, 6)


@pytest.mark.thorough
def test_a_recipe_with_members_a_seed_and_half_bases(hnexport: Hnexport, train: Path) -> None:
    done = hnexport(
        *("build", "--from", "train:recipe", "--members", 4, "--seed", 7, *ROW, "--bases", "float16"),
        *("--formats", "onnx", "--json"),
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["bundle"] == "bundles/sequential-4"
    assert value["basis_rounding"]["bases"] > 0
    manifest = read_manifest(train / value["bundle"])
    assert manifest.source.family == "recipe"
    assert manifest.origin == "Sequential with a recipe, random weights, seed 7"
    assert hnexport("verify", value["bundle"]).returncode == 0


@pytest.mark.thorough
def test_a_conditional_module_says_what_it_is(hnexport: Hnexport, train: Path) -> None:
    done = hnexport(
        *("build", "--from", "train.py:conditional", "--members", 3, "--input", "row=float32[batch,6]"),
        *("--formats", "onnx"),
    )
    assert done.returncode == 0, done.stderr
    assert "captured as it is: it generates its weights in every call" in done.stdout


@pytest.mark.thorough
def test_an_ensemble_is_built_as_it_is(hnexport: Hnexport, train: Path) -> None:
    done = hnexport("build", "--from", "train.py:ensemble", "--formats", "onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "bundles/mine"


def test_samples_are_what_is_verified_with(hnexport: Hnexport, train: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 1000, (5, 7))
    save_file({"tokens": tokens}, train / "texts.safetensors")
    done = hnexport(
        "build", "--from", "train.py:texts", "--samples", "texts.safetensors", "--out", "b", "--formats", "onnx"
    )
    assert done.returncode == 0, done.stderr
    golden = read_golden(train / "b", read_manifest(train / "b"))
    assert np.array_equal(golden.inputs["tokens"], tokens)
    assert set(golden.kinds) == {"given"}


@pytest.mark.thorough
def test_integers_stay_in_their_range(hnexport: Hnexport, train: Path) -> None:
    done = hnexport(
        *("build", "--from", "train.py:texts", "--input", "tokens=int64[batch,16]:0..999", "--out", "b"),
        *("--formats", "onnx"),
    )
    assert done.returncode == 0, done.stderr
    tokens = read_golden(train / "b", read_manifest(train / "b")).inputs["tokens"]
    assert (tokens.min(), tokens.max()) == (0, 999)


def test_the_users_error_is_shown_with_its_place_and_apart_from_ours(hnexport: Hnexport, train: Path) -> None:
    done = hnexport("build", "--from", "train.py:fails")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "Error: your code failed, calling fails of train.py: IndexError: list index out of range"
    )
    assert f"{train / 'train.py'}:{len(SOURCE.splitlines())} in fails: return networks()[5]" in done.stderr
    assert "fault of hnexport" not in done.stderr


def test_what_cannot_be_captured_is_refused_in_a_few_lines_with_the_users_own(hnexport: Hnexport, train: Path) -> None:
    done = hnexport("build", "--from", "train.py:branches", "--input", "row=float32[batch,6]")
    assert done.returncode == 2
    assert "a branch or size depends on a tensor's values" in " ".join(done.stderr.split())
    line = next(number for number, text in enumerate(SOURCE.splitlines(), 1) if "# data" in text)
    assert f"{train / 'train.py'}:{line} in forward: if row.sum() > 0:" in done.stderr
    assert "torch.ops" not in done.stderr
    assert done.stdout == ""


@pytest.mark.thorough
def test_what_a_factory_prints_does_not_stand_in_the_json(hnexport: Hnexport, train: Path) -> None:
    done = hnexport("build", "--from", "train.py:talks", *ROW, "--formats", "onnx", "--out", "b", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == "b"
    assert "epoch 1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        2,
        [
            (("train.py:networks",), "say what forward takes with --input"),
            (("train.py:networks", *ROW, "--network", "wrn-10-1"), "--from says what to build: leave out --network"),
            (("train.py:networks", *ROW, "--members", 3), "returned a list of modules: leave out --members"),
            (("train.py:networks", "--arg", "count"), "--arg count: expected NAME=VALUE"),
            (("train.py:networks", "--arg", "count=1", "--arg", "count=2"), "--arg count: given twice"),
            (("train.py:leaves",), "your code failed, calling leaves of train.py: SystemExit: 0"),
            (("train.py:nothing",), "train.py has no nothing; there are net, networks, recipe"),
            (("train.py:networks", "--samples", "none.safetensors"), "--samples none.safetensors: no safetensors file"),
        ],
    ),
)
def test_what_does_not_go_together_is_said(
    arguments: tuple[Any, ...], message: str, hnexport: Hnexport, train: Path
) -> None:
    done = hnexport("build", "--from", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_what_belongs_to_a_factory_needs_one(hnexport: Hnexport, train: Path) -> None:
    done = hnexport("build", "--members", 2, *ROW)
    assert done.returncode == 2
    assert "--input goes with --from" in done.stderr


@pytest.mark.thorough
def test_samples_of_other_inputs_are_refused(hnexport: Hnexport, train: Path) -> None:
    save_file({"tokens": np.zeros((2, 7), np.int64), "mask": np.zeros((2, 7), bool)}, train / "s.safetensors")
    done = hnexport(
        *("build", "--from", "train.py:texts", "--samples", "s.safetensors", "--input", "tokens=int64[batch,7]:0..9")
    )
    assert done.returncode == 2
    assert "the samples are of tokens, mask, --input describes tokens" in " ".join(done.stderr.split())
    save_file({"tokens": np.zeros((2, 7), np.int32)}, train / "s.safetensors")
    done = hnexport(
        *("build", "--from", "train.py:texts", "--samples", "s.safetensors", "--input", "tokens=int64[batch,8]:0..9")
    )
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "the samples of tokens are int32 [2, 7], --input says int64 [batch, 8]" in said


@pytest.mark.thorough
def test_what_was_not_trained_is_not_published(hnexport: Hnexport, train: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    save_file({"input.input": rows, "output.output": np.zeros((2, 4, 3), np.float32)}, train / "r.safetensors")
    done = hnexport("build", "--from", "train.py:networks", *ROW, "--reference", "r.safetensors", "--out", "b")
    assert done.returncode == 1
    assert "samples are others than the trained model's" in " ".join(done.stderr.split())
    assert "nothing was published" in done.stderr
    assert not (train / "b").exists()


@pytest.mark.thorough
def test_a_recipe_with_a_checkpoint_is_compared_with_what_was_trained(hnexport: Hnexport, train: Path) -> None:
    module = trained(train)
    ensemble = Ensemble.from_recipe(*module.recipe(), members=3, example_inputs=torch.zeros(1, 6), seed=1)
    rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        outputs = torch.stack([ensemble(member, {"input": rows})["output"] for member in range(3)])
    save_torch(ensemble.tensors, train / "weights.safetensors")
    save_torch({"input.input": rows, "output.output": outputs}, train / "r.safetensors")
    source = ("build", "--from", "train.py:recipe", "--members", 3, "--checkpoint", "weights.safetensors", *ROW)
    done = hnexport(*source, "--arg", "act=SiLU", "--reference", "r.safetensors", "--out", "b")
    assert done.returncode == 1
    assert "it is not what was trained; nothing was published" in " ".join(done.stderr.split())
    assert not (train / "b").exists()
    done = hnexport(*source, "--reference", "r.safetensors", "--formats", "onnx", "--out", "b")
    assert done.returncode == 0, done.stderr
    line = "as trained, r.safetensors: all 3 members, 4 samples, output: relative L2 error"
    assert line in " ".join(hnexport("inspect", "b").stdout.split())


def test_a_file_that_is_no_reference_is_answered_with_how_to_write_one(hnexport: Hnexport, train: Path) -> None:
    torch.save({"row": torch.zeros(2, 6)}, train / "r.pt")
    done = hnexport("build", "--from", "train.py:networks", *ROW, "--reference", "r.pt", "--out", "b")
    assert done.returncode == 2
    assert "r.pt is no safetensors file of a reference" in " ".join(done.stderr.split())
    assert "safetensors.torch.save_file(" in done.stderr
    assert not (train / "b").exists()


def trained(folder: Path) -> ModuleType:
    """What the file says, as a module."""
    spec = importlib.util.spec_from_file_location("trained", folder / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_trained_is_said_by_the_build_and_by_inspect(hnexport: Hnexport, train: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    outputs = np.stack([network(torch.from_numpy(rows)).detach().numpy() for network in trained(train).networks()])
    save_file({"input.input": rows, "output.output": outputs}, train / "r.safetensors")
    command = ("build", "--from", "train.py:networks", *ROW, "--reference", "r.safetensors", "--formats", "onnx")
    done = hnexport(*command, "--out", "b")
    assert done.returncode == 0, done.stderr
    line = "as trained, r.safetensors: all 2 members, 4 samples, output: relative L2 error"
    assert line in " ".join(done.stdout.split())
    assert line in " ".join(hnexport("inspect", "b").stdout.split())
    assert json.loads(hnexport("inspect", "b", "--json").stdout)["manifest"]["as_trained"]["samples"] == 4
    assert json.loads(hnexport(*command, "--out", "c", "--json").stdout)["as_trained"]["members"] == [0, 1]
