"""What is right is built and called the same, however awkward its numbers are."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format


class Tiny(nn.Module):
    """Products below what float32 holds."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 8), nn.Linear(8, 3)
        for parameter in self.parameters():
            parameter.data *= 1e-30

    def forward(self, features: Tensor) -> Tensor:
        return self.outer(torch.relu(self.inner(features)))


class Ties(nn.Module):
    """Choices among columns that are equal to the last place, which kernels sum in other orders."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 8), nn.Linear(8, 6)
        self.outer.weight.data[3:] = self.outer.weight.data[:3]
        self.outer.bias.data[3:] = self.outer.bias.data[:3]

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        hidden = self.outer(torch.tanh(self.inner(features)))
        return {"scores": hidden, "choice": hidden.argmax(1), "is_first": hidden[:, 0] > hidden[:, 3]}


class Recurrent(nn.Module):
    """An LSTM, which turns NaN into numbers in onnxruntime."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.outer(self.inner(features[:, None])[0][:, -1])


@pytest.mark.parametrize("make", [Tiny, Ties, Recurrent])
def test_a_build_accuses_nothing_that_is_right(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    modules = []
    for seed in range(3):
        torch.manual_seed(seed)
        modules.append(make().eval())
    ensemble = Ensemble.from_modules(modules, example_inputs={"features": torch.randn(4, 5)})
    found = build(ensemble, tmp_path / "bundle", options=BuildOptions(formats=(Format.ONNX,)))
    assert found.parity.passed
