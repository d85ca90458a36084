"""Kernels that a recipe generates are folded too; where folding would lose the guard, it is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from hnexport import Ensemble, ModuleRecipe, Rule
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.errors import TuneError
from hnexport.runtime import load
from hnexport.tune.make import tune


def ensemble(others):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
        network = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)).eval()
    recipe = ModuleRecipe(rules=(Rule("[02].weight", "generated"), Rule("*", others)), chunk_size=2304)
    return Ensemble.from_recipe(network, recipe, members=2, example_inputs=torch.zeros(1, 3, 8, 8))


def test_generated_kernels_are_folded_or_refused_but_never_wrong(tmp_path):
    options = BuildOptions(formats=(Format.ONNX,))
    made = ensemble("member")
    tune(build(made, tmp_path / "member", options=options).path)
    images, loaded = np.random.default_rng(0).standard_normal((3, 3, 8, 8), np.float32), load(tmp_path / "member")
    for member in range(2):
        with torch.no_grad():
            expected = made(member, {"input": torch.from_numpy(images)})["output"].numpy()
        np.testing.assert_allclose(loaded.predict(images, member=member), expected, rtol=1e-4, atol=1e-6)
    shared = build(ensemble("shared"), tmp_path / "shared", options=options).path
    with pytest.raises(TuneError, match="ids that do not exist give NaN"):
        tune(shared)
