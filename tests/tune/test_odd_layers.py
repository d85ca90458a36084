"""Int8 of networks of which some parts cannot compute in it: these stay as they are, and the rest is rounded."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ensembles import seeded
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format, read_manifest
from hnexport.errors import BundleError
from hnexport.quantise.options import Int8Options
from hnexport.quantise.parts import split
from hnexport.runtime import load
from hnexport.runtime.int8 import INT8_NETWORK_FILE
from hnexport.tune.int8 import Int8Bundle, quantised


class Odd(nn.Module):
    """A ReLU that an output shows too, an output of weights alone, a row as a bias, every sample sorted, float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.factor, self.row = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(1, 8))
        self.wide = nn.Parameter(torch.randn(8, 2, dtype=torch.float64))

    def forward(self, numbers: Tensor) -> dict[str, Tensor]:
        doubled = numbers * 2
        order = torch.argsort(doubled, dim=1) + 6 * torch.arange(numbers.shape[0])[:, None]
        features = F.relu(self.first(doubled.reshape(-1)[order]))
        logits = self.last(F.relu(torch.addmm(self.row, features, self.factor)))
        exact = features.double() @ self.wide
        return {"features": features, "logits": logits, "size": self.factor.abs().sum(), "exact": exact.float()}


class Circular(nn.Module):
    """OpenVINO does not know this padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")

    def forward(self, image: Tensor) -> Tensor:
        return F.relu(self.conv(image)).mean((2, 3))


def made(
    make: Callable[[], Odd] | Callable[[], Circular], shape: tuple[int, ...], folder: Path
) -> tuple[Path, Int8Bundle, NDArray[np.floating]]:
    """A bundle of two such modules, tuned, and its samples."""
    ensemble = Ensemble.from_modules(seeded(make, 2), example_inputs=torch.randn(2, *shape))
    build(ensemble, folder / "bundle", options=BuildOptions(formats=(Format.ONNX,)))
    samples = np.random.default_rng(5).normal(size=(40, *shape)).astype(np.float32)
    np.save(folder / "samples.npy", samples)
    tuned = quantised(folder / "bundle", folder / "samples.npy", options=Int8Options(samples=32))
    return folder / "bundle", tuned, samples


@pytest.fixture(scope="module")
def odd(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch
) -> tuple[Path, Int8Bundle, NDArray[np.floating]]:
    folder = tmp_path_factory.mktemp("odd")
    monkeypatch_module.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return made(Odd, (6,), folder)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(autouse=True)
def home(odd: tuple[Path, Int8Bundle, NDArray[np.floating]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache that the bundle was tuned in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(odd[0].parent / "cache"))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_every_output_is_nearly_that_of_float32(
    engine: str, odd: tuple[Path, Int8Bundle, NDArray[np.floating]]
) -> None:
    bundle, _, samples = odd
    exact, found = load(bundle, provider="cpu"), load(bundle, precision="int8", engine=engine)
    for member in range(2):
        known, given = (one.outputs(member, {"numbers": samples}) for one in (exact, found))
        assert set(given) == {"features", "logits", "size", "exact"}
        for name, value in known.items():
            assert np.linalg.norm(np.subtract(given[name], value)) < 0.05 * np.linalg.norm(value), name


def test_a_bias_that_is_none_of_the_channels_leaves_its_layer_in_float32(
    odd: tuple[Path, Int8Bundle, NDArray[np.floating]],
) -> None:
    _, tuned, _ = odd
    network = onnx.load(tuned.path / INT8_NETWORK_FILE, load_external_data=False).graph
    assert tuned.report.layers == 2
    assert {tensor.name for tensor in network.initializer} >= {"factor", "row"}


def test_samples_that_are_sorted_are_no_view(odd: tuple[Path, Int8Bundle, NDArray[np.floating]]) -> None:
    bundle, _, _ = odd
    assert any(node.op_type == "Gather" for node in split(bundle, read_manifest(bundle)).network.graph.node)


def test_what_openvino_cannot_read_in_int8_is_said(tmp_path: Path) -> None:
    bundle, _, _ = made(Circular, (3, 6, 6), tmp_path)
    with pytest.raises(BundleError, match="OpenVINO cannot read"):
        load(bundle, precision="int8", engine="openvino")
