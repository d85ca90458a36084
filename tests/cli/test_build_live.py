"""`hnexport build --from` of hypnettorch's own networks, and what a user does with the bundle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixture_types import Hnexport
from safetensors.torch import save_file

from hnexport.bundle import read_manifest

SOURCE = """
import torch
from hypnettorch.hnets import HMLP, HContainer
from hypnettorch.mnets import MLP

def networks(dropout=-1):
    torch.manual_seed(0)
    mnet = MLP(n_in=6, n_out=3, hidden_layers=[8], use_batch_norm=True, no_weights=True, verbose=False)
    inner = HMLP(
        mnet.param_shapes[:-2], layers=[5], uncond_in_size=2, cond_in_size=3, num_cond_embs=4, dropout_rate=dropout,
        verbose=False,
    )
    hnet = HContainer(
        mnet.param_shapes, lambda given, shared, own: given[0] + own, hnets=[inner],
        cond_param_shapes=mnet.param_shapes[-2:], num_cond_embs=4, verbose=False,
    )
    (norm,) = mnet.batchnorm_layers
    for number in range(3):
        norm.checkpoint_stats()
    for number in range(4):
        mean, variance = norm.get_stats(number)
        mean.normal_()
        variance.uniform_(0.5, 2)
    return hnet.eval(), mnet.eval()

VECTOR = torch.tensor([[0.5, -1.0]])

def make(dropout=-1):
    return *networks(dropout), {"condition": lambda k: k, "uncond_input": VECTOR, "members": 3}
"""
BUILD = ("build", "--from", "train.py:make", "--input", "row=float32[batch,6]", "--output", "logits=logits")


@pytest.fixture
def train(tmp_path: Path) -> dict[Any, Any]:
    (tmp_path / "train.py").write_text(SOURCE)
    scope: dict[str, Any] = {}
    exec(SOURCE, scope)
    return scope


@pytest.mark.thorough
def test_networks_are_built_verified_shown_and_predicted_with(
    hnexport: Hnexport, train: dict[Any, Any], tmp_path: Path
) -> None:
    hnet, mnet = train["networks"]()
    rows = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = torch.stack(
            [
                mnet.forward(rows, weights=hnet.forward(cond_id=k, uncond_input=train["VECTOR"]), condition=k)
                for k in range(3)
            ]
        )
    save_file({"input.row": rows, "output.logits": outputs}, tmp_path / "trained.safetensors")
    done = hnexport(*BUILD, "--arg", "dropout=0.5", "--formats", "onnx", "--out", "b", "--bases", "float16")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "mlp-3, 3 members, from HContainer and MLP of hypnettorch" in said
    assert "put into evaluation mode inside hnet, which eval() does not reach: Dropout" in said
    assert "bases in float16, weights generated in float32: rounding changed a basis by" in said
    done = hnexport(*BUILD, "--formats", "onnx", "--out", "b", "--force", "--reference", "trained.safetensors")
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "b").members == 3
    assert hnexport("verify", "b").returncode == 0
    shown = " ".join(hnexport("inspect", "b").stdout.split())
    assert "family hypnettorch" in shown
    assert "│ internal hypernetworks │ 1 │" in shown
    assert "hypernetwork, shared by all members" in shown
    np.save(tmp_path / "rows.npy", rows.numpy())
    done = hnexport("predict", "b", "rows.npy", "--member", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


@pytest.mark.thorough
def test_other_outputs_than_the_trained_ones_are_not_published(
    hnexport: Hnexport, train: dict[Any, Any], tmp_path: Path
) -> None:
    rows = torch.randn(4, 6)
    save_file({"input.row": rows, "output.logits": torch.zeros(3, 4, 3)}, tmp_path / "trained.safetensors")
    done = hnexport(*BUILD, "--out", "b", "--reference", "trained.safetensors")
    assert done.returncode == 1
    assert "nothing was published" in done.stderr
    assert not (tmp_path / "b").exists()
