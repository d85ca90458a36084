"""Kernels that a recipe generates are folded, whatever stands beside them; the guard stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thorough import first
from torch import nn

from hnexport import Ensemble, ModuleRecipe, Rule
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.errors import TuneError
from hnexport.runtime import load
from hnexport.runtime.folded import FoldedNetwork
from hnexport.tune.make import tune


def ensemble(*rules: Any, **settings: Any) -> Ensemble:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
        network = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)).eval()
    recipe = ModuleRecipe(rules=tuple(Rule(*rule) for rule in rules), chunk_size=2304, **settings)
    return Ensemble.from_recipe(network, recipe, members=2, example_inputs=torch.zeros(1, 3, 8, 8))


def built(made: Ensemble, folder: Path) -> Path:
    return build(made, folder / "bundle", options=BuildOptions(formats=(Format.ONNX,))).path


KERNELS = ("[02].weight", "generated")
FOLDED = {
    "kernels alone": ((KERNELS, ("*", "shared")), {"hidden_layers": (5,), "bias": True}),
    "beside each member's own": ((KERNELS, ("*", "member")), {}),
    "beside a generated matrix and bias": ((("*.weight", "generated"), ("0.bias", "generated"), ("*", "shared")), {}),
}


@pytest.mark.parametrize(("rules", "settings"), first(1, FOLDED.values()), ids=FOLDED.keys())
def test_generated_kernels_are_folded(rules: tuple[Any, ...], settings: dict[str, Any], tmp_path: Path) -> None:
    made = ensemble(*rules, **settings)
    bundle = built(made, tmp_path)
    folded = tune(bundle).path
    images, loaded = np.random.default_rng(0).standard_normal((3, 3, 8, 8), np.float32), load(bundle, strategy="folded")
    for member in range(2):
        with torch.no_grad():
            expected = made(member, {"input": torch.from_numpy(images)})["output"].numpy()
        np.testing.assert_allclose(loaded.predict(images, member=member), expected, rtol=1e-4, atol=1e-6)
    for absent in (-1, 2):
        assert np.isnan(FoldedNetwork(folded).materialise(absent)({"input": images})["output"]).all()


REFUSED = {
    "no kernel": (("6.weight", "generated"), {}, "6.weight is generated, and no kernel of a convolution of images"),
    "several in a chunk": (KERNELS, {"planner": "flat"}, "flat generates more than one tensor in a chunk, 0.weight"),
}


@pytest.mark.parametrize(("rule", "settings", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_folded_is_said(
    rule: tuple[str, str], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TuneError, match=f"sequential-2 cannot be folded: {message}"):
        tune(built(ensemble(rule, ("*", "shared"), **settings), tmp_path))
