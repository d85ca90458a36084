"""Hypernetworks of other kinds of layers: in float64 too, whatever their forward makes in float32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypernetworks import Main
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format


class Kind(nn.Module):
    """`condition -> hidden [25]`, the weight and the bias of the first layer."""

    def __init__(self, layer: nn.Module, hidden: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.layer, self.hidden = layer, hidden
        self.last = nn.Linear(8, 25)

    def forward(self, condition: Tensor) -> dict[Any, Any]:
        made = self.last(self.hidden(self.layer, condition))
        return {"first.weight": made[:20].view(5, 4), "first.bias": made[20:]}


def attention() -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


KINDS = {
    "attention over a context": (attention, lambda layer, x: layer(x[None]).mean((0, 1)), (4, 8)),
    "a GRU over a context": (lambda: nn.GRU(3, 8, batch_first=True), lambda layer, x: layer(x[None])[0][0, -1], (4, 3)),
    "convolutions": (lambda: nn.Conv2d(3, 8, 3), lambda layer, x: layer(x[None]).relu().mean((0, 2, 3)), (3, 6, 6)),
    "a norm of vectors": (lambda: nn.Linear(2, 8), lambda layer, x: F.normalize(layer(x), dim=0), (2,)),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_computes_the_same_in_float64(name: str) -> None:
    make, hidden, shape = KINDS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hypernet, network = Kind(make(), hidden).eval(), Main().eval()
    given = {"condition": torch.randn(shape), "x": torch.randn(3, 4)}
    ensemble = Ensemble.from_hypernetwork(hypernet, network, example_inputs=given, outputs=("y",))
    double = ensemble.double()
    with torch.no_grad():
        found = double.weights(0, {"condition": given["condition"].double()})["first.weight"]
        expected = hypernet(given["condition"])["first.weight"]
    assert found.dtype is torch.float64
    torch.testing.assert_close(found.float(), expected)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class OfInput(nn.Module):
    """The weights of a recurrent layer's input alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 80)

    def forward(self, condition: Tensor) -> dict[Any, Any]:
        return {"cells.weight_ih_l0": self.layer(condition).view(20, 4)}


def test_weights_of_a_recurrent_layer_that_are_nan_are_not_lost(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hypernet, network = OfInput().eval(), Recurrent().eval()
    given = {"condition": torch.ones(2), "x": torch.zeros(2, 3, 4)}
    ensemble = Ensemble.from_hypernetwork(hypernet, network, example_inputs=given, outputs=("y",))
    assert build(ensemble, tmp_path / "bundle", options=BuildOptions(formats=(Format.ONNX,))).parity.passed
