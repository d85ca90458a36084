"""What is right is built and called the same, however awkward its numbers are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from seeds import seeds
from thorough import only
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.parity import Verdict, VerifyOptions, verify


class Scaled(nn.Module):
    """Two layers whose parameters are all multiplied."""

    def __init__(self, scale: float = 1.0, outputs: int = 3) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 8), nn.Linear(8, outputs)
        for parameter in self.parameters():
            parameter.data *= scale

    def forward(self, features: Tensor) -> Any:
        return self.outer(torch.relu(self.inner(features)))


class NearZero(Scaled):
    """What is left where two numbers that are nearly equal, or equal but for rounding, are subtracted."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        value = self.outer(torch.tanh(self.inner(features)))
        nearby = self.outer(torch.tanh(self.inner(features * 1.001)))
        return {"value": value, "difference": value - nearby, "nothing": value * 3.3 - value * 2.3 - value}


class Ties(Scaled):
    """Choices among columns that are equal to the last place, which kernels sum in other orders."""

    def __init__(self) -> None:
        super().__init__(outputs=6)
        self.outer.weight.data[3:] = self.outer.weight.data[:3]
        self.outer.bias.data[3:] = self.outer.bias.data[:3]

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        hidden = self.outer(torch.tanh(self.inner(features)))
        return {"scores": hidden, "choice": hidden.argmax(1), "is_first": hidden[:, 0] > hidden[:, 3]}


class Recurrent(nn.Module):
    """Two layers in both directions, which turn NaN into numbers in onnxruntime."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.inner, self.outer = kind(5, 6, num_layers=2, bidirectional=True, batch_first=True), nn.Linear(12, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.outer(self.inner(features[:, None].expand(-1, 4, -1))[0][:, -1])


class Attention(nn.Module):
    """A small transformer over the features."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.encoder, self.outer = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 3)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        hidden = self.encoder(features[:, :, None] * self.position)
        scores = self.outer(hidden.mean(1))
        return {"probabilities": scores.softmax(1), "energy": scores.logsumexp(1), "scores": scores}


KINDS: dict[str, Callable[[], nn.Module]] = {
    "tiny weights": lambda: Scaled(1e-30),
    "huge weights": lambda: Scaled(1e14),
    "an output layer of zeros": lambda: _zeroed(Scaled()),
    "one number": lambda: Scaled(outputs=1),
    "an LSTM": lambda: Recurrent(nn.LSTM),
    "a GRU": lambda: Recurrent(nn.GRU),
    "a transformer": Attention,
    "values near zero": NearZero,
    "ties": Ties,
    "float64": lambda: Scaled().double(),
}


IN_EVERY_RUN = ("ties",)
SLOW = ("an LSTM", "a GRU", "a transformer")


def _zeroed(module: Scaled) -> nn.Module:
    nn.init.zeros_(module.outer.weight)
    nn.init.zeros_(module.outer.bias)
    return module


def ensemble_of(make: Callable[[], nn.Module], members: int, *, first: int = 0, equal: bool = False) -> Ensemble:
    """Each member from a seed of its own, beginning with `first`."""
    modules = []
    for member in range(members):
        torch.manual_seed(0 if equal else first + member)
        modules.append(make().eval())
    dtype = next(modules[0].parameters()).dtype
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    return Ensemble.from_modules(modules, example_inputs={"features": features})


def built(ensemble: Ensemble, target: Path) -> Path:
    found = build(ensemble, target, options=BuildOptions(formats=(Format.ONNX,)))
    assert found.parity.passed
    return target


@pytest.mark.parametrize("time", seeds(1, 3))
@pytest.mark.parametrize("name", only(KINDS, *IN_EVERY_RUN))
def test_a_list_is_not_accused_with_many_seeds(name: str, time: int, tmp_path: Path) -> None:
    members = 3 if name in SLOW else 8
    built(ensemble_of(KINDS[name], members, first=time * members), tmp_path / "bundle")


def test_members_that_are_all_equal_are_not_accused(tmp_path: Path) -> None:
    bundle = built(ensemble_of(Scaled, 3, equal=True), tmp_path / "bundle")
    assert verify(bundle).verdict is Verdict.SAME


@pytest.mark.thorough
def test_fifty_members_are_not_accused(tmp_path: Path) -> None:
    bundle = built(ensemble_of(Scaled, 50), tmp_path / "bundle")
    for seed in range(5):
        assert verify(bundle, VerifyOptions(seed=seed)).verdict is Verdict.SAME
