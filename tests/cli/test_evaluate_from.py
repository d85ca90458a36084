"""`hnexport evaluate --from`: the reference in float64 is what the function returns that the bundle was built from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from thorough import first

from hnexport.bundle import read_manifest
from hnexport.bundle.manifest import Temperature, read_identified
from hnexport.cli.main import cli
from hnexport.evaluate.again import ensemble_again
from hnexport.evaluate.derive import derive_bundle

SOURCE = """
import torch
from torch import nn
from hnexport import Ensemble, ModuleRecipe, Rule

def net(width=8):
    return nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, 3)).eval()

def networks(count=2, seed=0):
    print("making them")
    torch.manual_seed(seed)
    return [net() for _ in range(count)]

def ensemble():
    return Ensemble.from_modules(networks(), example_inputs=torch.zeros(1, 6), outputs=("logits",))

RULES = (Rule("0.*", "generated"), Rule("*", "member"))

def recipe():
    torch.manual_seed(0)
    return net(), ModuleRecipe(rules=RULES)

def counted():
    return *recipe(), 2

class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(2, 6))

    def forward(self, task, input):
        return input * self.table[task]

def conditional():
    torch.manual_seed(0)
    return Conditional().eval()

def wide():
    torch.manual_seed(0)
    return [nn.Linear(7, 3).eval(), nn.Linear(7, 3).eval()]
"""
OUTPUTS = ("--output", "logits=logits")
BUILT = ("--from", "train.py:networks", "--input", "input=float32[batch,6]", *OUTPUTS, "--formats", "onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's file, the bundle of its networks and data."""
    folder = tmp_path_factory.mktemp("from")
    (folder / "train.py").write_text(SOURCE)
    random = np.random.default_rng(0)
    np.savez(
        folder / "data.npz", input=random.standard_normal((20, 6)).astype(np.float32), label=random.integers(0, 3, 20)
    )
    return folder


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [*map(str, arguments), "--provider", "cpu"])

    if not (folder / "bundle").exists():
        done = run("build", *BUILT, "--out", "bundle")
        assert done.exit_code == 0, done.output
    return run


def evaluated(run: Callable[..., Result], *arguments: object) -> tuple[list[Any], Any]:
    done = run("evaluate", "bundle", "data.npz", "--runtimes", "onnx", "--json", *arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)  # what the user's code prints is not in it
    return [source["name"] for source in found["sources"]], found["not_run"]


@pytest.mark.parametrize("name", ["networks", "ensemble"])
def test_what_the_function_returns_is_the_reference(run: Callable[..., Result], name: str) -> None:
    names, _ = evaluated(run)
    assert names == ["runtime", "onnx"]  # the bundle holds neither its network nor a program
    names, not_run = evaluated(run, "--from", f"train.py:{name}")
    assert names == ["float64", "runtime", "onnx"]
    assert not_run == {}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("train.py:networks", "--arg", "seed=1"), "does not give the reference of the golden samples"),
        (("train.py:networks", "--arg", "count=3"), "it has 3 members, the bundle 2"),
    ],
    ids=["other weights", "more members"],
)
def test_another_ensemble_is_no_reference(
    run: Callable[..., Result], arguments: tuple[str, str, str], why: str
) -> None:
    names, not_run = evaluated(run, "--from", *arguments)
    assert names == ["runtime", "onnx"]
    assert why in not_run["float64"]


def test_a_derived_bundle_takes_the_function_of_the_one_that_it_came_from(
    run: Callable[..., Result], folder: Path
) -> None:
    digest = read_identified(folder / "bundle").digest
    derive_bundle("bundle", "new", Temperature(output="logits", value=2.0, rows=9, source=digest), provider="cpu")
    done = run("evaluate", "new", "data.npz", "--runtimes", "onnx", "--from", "train.py:networks", "--json")
    found = json.loads(done.stdout)
    assert [source["name"] for source in found["sources"]] == ["float64", "runtime", "onnx"]
    assert found["sources"][1]["difference"]["probabilities"] < 1e-6


def test_options_that_mean_nothing_without_each_other_are_refused(run: Callable[..., Result]) -> None:
    for arguments, message in (
        (("--from", "train.py:networks"), "say --runtimes too"),
        (("--arg", "seed=1"), "--arg goes with --from"),
        (("--checkpoint", "weights.safetensors"), "--checkpoint goes with --from"),
        (("--runtimes", "onnx", "--from", "train.py:nothing"), "has no nothing"),
        (("--runtimes", "onnx", "--from", "train.py:wide"), "cannot capture member 0"),
        (("--runtimes", "onnx", "--from", "train.py:networks", "--checkpoint", "w.safetensors"), "--checkpoint"),
    ):
        done = run("evaluate", "bundle", "data.npz", *arguments)
        assert (done.exit_code, message in " ".join(done.stderr.split())) == (2, True), done.output


@pytest.mark.parametrize("name", first(1, ["recipe", "counted", "conditional"]))
def test_whatever_a_factory_may_return_is_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(folder)
    kind = ("--members", "2") if name != "counted" else ()
    options = ["build", "--from", f"train.py:{name}", "--input", "input=float32[batch,6]", *kind, "--formats", "onnx"]
    done = CliRunner().invoke(cli, [*options, "--out", str(tmp_path / "bundle"), "--provider", "cpu"])
    assert done.exit_code == 0, done.output
    manifest = read_manifest(tmp_path / "bundle")
    again = ensemble_again(f"train.py:{name}", {}, tmp_path / "bundle", manifest)
    assert again.signature == manifest.signature
    assert again.members == manifest.members
