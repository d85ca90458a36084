"""Batch norms between convolutions compute in int8, where they lose little and an integer convolution reads them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ensembles import seeded
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble
from hnexport.build import BuildOptions, BuildResult, build
from hnexport.bundle.manifest import Format
from hnexport.evaluate.targets import ReadOptions
from hnexport.parity.results import Comparison
from hnexport.quantise.data import read_calibration
from hnexport.quantise.layers import layers
from hnexport.quantise.makers import Members
from hnexport.quantise.parts import split
from hnexport.quantise.plan import Quantised, quantise, useful
from hnexport.quantise.proof import proved
from hnexport.rows import taken

CHANNELS = 4


class Preactivated(nn.Module):
    """A norm before a convolution: factors of either sign, a channel without one, one that is always on."""

    sizes: Tensor

    def __init__(self, sizes: tuple[float, ...] = (1.0,) * CHANNELS) -> None:
        super().__init__()
        self.register_buffer("sizes", torch.tensor(sizes).reshape(1, CHANNELS, 1, 1))
        self.norm, self.conv = nn.BatchNorm2d(CHANNELS), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def trained(self) -> "Preactivated":
        """With the statistics of what it takes."""
        with torch.no_grad():
            self.norm.running_var.copy_(self.sizes.flatten() ** 2)
            self.norm.running_mean.zero_()
            self.norm.weight.copy_(torch.tensor([1.5, -0.7, 0.0, 0.3]))
            self.norm.bias.copy_(torch.tensor([0.1, 0.2, 0.5, 4.0]))
        return self

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(image * self.sizes))).mean((2, 3))


def made(
    make: Callable[..., Preactivated] | Callable[[], Preactivated], folder: Path
) -> tuple[BuildResult, Quantised, tuple[Comparison, float]]:
    """The network, its parts in int8, and member 1 of it proved on a sample."""
    ensemble = Ensemble.from_modules(
        [module.trained() for module in seeded(make, 2)], example_inputs=torch.randn(2, CHANNELS, 6, 6)
    )
    built = build(ensemble, folder / "bundle", options=BuildOptions(formats=(Format.ONNX,)))
    images = np.random.default_rng(5).normal(size=(24, CHANNELS, 6, 6)).astype(np.float32)
    np.save(folder / "images.npy", images)
    samples = read_calibration(folder / "images.npy", built.manifest, ReadOptions(), 16)
    found = quantise(folder / "bundle", built.manifest, samples, [0, 1])
    rounded = found.rounded
    parameters = Members(folder / "bundle", built.manifest).parameters(rounded.maker, rounded.parameters, 1)
    first = taken(built.manifest.signature, samples.judged, [0])
    return built, found, proved(rounded.network, parameters, first, 1)


def operators(found: Quantised) -> list[Any]:
    return [node.op_type for node in found.rounded.network.graph.node]


def test_a_norm_before_a_convolution_is_one_in_int8_with_any_factors(tmp_path: Path) -> None:
    _, found, (comparison, levels) = made(Preactivated, tmp_path)
    assert operators(found).count("Conv") == found.layers == 2
    assert not {"Add", "Relu", "BatchNormalization"}.intersection(operators(found))
    assert found.decibels["norm.weight"] > 30
    assert comparison.passed
    assert levels == pytest.approx(0.5, abs=1e-2)


def test_a_norm_that_loses_too_much_is_a_factor_and_a_sum_in_float32_and_is_named(tmp_path: Path) -> None:
    """Its channels are of so different sizes that one scale for all leaves nothing of the small ones."""
    built, found, (comparison, _) = made(lambda: Preactivated((100.0, 0.1, 0.1, 0.1)), tmp_path)
    assert [kept.layer for kept in found.kept] == ["norm.weight"]
    assert operators(found).count("Conv") == found.layers == 1
    assert "Add" in operators(found)
    assert found.decibels["norm.weight"] < 30 < found.decibels["conv.weight"]
    assert comparison.passed
    assert comparison.relative_l2 < 1e-6
    every = layers(split(tmp_path / "bundle", built.manifest))
    assert [layer.norm for layer in every] == [True, False]


def test_a_norm_whose_convolution_stays_in_float32_stays_too(tmp_path: Path) -> None:
    built, _, _ = made(Preactivated, tmp_path)
    norm, conv = layers(split(tmp_path / "bundle", built.manifest))
    assert useful([norm, conv]) == [norm, conv]
    assert useful([norm]) == []
    assert useful([norm, dataclasses.replace(conv, given="another")]) == [dataclasses.replace(conv, given="another")]
