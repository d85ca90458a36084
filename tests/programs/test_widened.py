"""Float64 whatever a network says."""

import numpy as np
import torch
from ensembles import of_modules
from torch import Tensor, nn

from hnexport.parity import compute_golden
from hnexport.programs.widened import Widened


class Chooses(nn.Module):
    """Another product for a batch of a positive sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return torch.cond(y.sum() > 0, lambda y: y * 2, lambda y: y - 1, (y,))


def test_what_operators_are_asked_for_and_give_is_wide() -> None:
    with Widened():
        found = torch.zeros(3).float() + torch.ones(3, dtype=torch.float16) + torch.arange(3).to(torch.bfloat16)
    assert found.dtype is torch.float64


def test_whole_numbers_stay() -> None:
    with Widened():
        assert torch.arange(3).dtype is torch.int64


def test_a_network_with_a_condition_has_a_reference() -> None:
    modules = [Chooses().eval() for _ in range(2)]
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    golden = compute_golden(of_modules(modules, {"x": x}, ["y"]), (0, 1), {"x": x.numpy()}, ("example",) * 2)
    with torch.no_grad():
        y = modules[1].layer.double()(x.double()).numpy()
    assert np.array_equal(golden.outputs["y"][1], y * 2 if y.sum() > 0 else y - 1)
    assert 0 < golden.noise["y"].max() < 1e-5
