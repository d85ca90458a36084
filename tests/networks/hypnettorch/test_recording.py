"""Members are told apart by running them once; what cannot be told is captured."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from live_pairs import MEMBERS, PAIRS
from thorough import first
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.networks.hypnettorch import hypernetwork


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The hypernetworks that are captured."""
    seen, program = [], hypernetwork._program

    def noted(module: Any, live: Any) -> Any:
        seen.append(module)
        return program(module, live)

    monkeypatch.setattr(hypernetwork, "_program", noted)
    return seen


def test_a_hypernetwork_is_captured_once_however_many_members_there_are(captures: list[Any]) -> None:
    PAIRS["HContainer with heads, MLP"].ensemble()
    assert len(captures) == 1


class Changed(nn.Module):
    """A hypernetwork whose weights are changed by Python code."""

    def __init__(self, change: Callable[[nn.Module, int, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.mnet = PAIRS["HMLP, MLP"].modules()
        self.tables = nn.ParameterList([torch.rand(12, 16) for _ in range(MEMBERS)])
        self.num_known_conds, self._change = MEMBERS, change
        self.eval()

    def forward(self, cond_id: int) -> list[Tensor]:
        first, *others = self.inner.forward(cond_id=cond_id)
        return [self._change(self, cond_id, first), *others]


CHANGES: dict[str, tuple[Callable[[Any, int, Tensor], Tensor], int]] = {
    "a tensor of the member": (lambda self, member, weight: weight * self.tables[member], 1),
    "a view of one": (lambda self, member, weight: weight + self.tables[member][:, :1], 1),
    "a constant of the member": (lambda self, member, weight: weight * torch.tensor(member + 2.0), MEMBERS),
    "a tensor as it is": (lambda self, member, weight: self.tables[member], 1),
    "two that change places": (
        lambda self, member, weight: self.tables[member] * self.tables[(member + 1) % MEMBERS].relu(),
        1,
    ),
}


@pytest.mark.parametrize("name", first(2, CHANGES))
def test_members_that_differ_in_tensors_alone_are_those_of_hypnettorch(name: str, captures: list[Any]) -> None:
    change, most = CHANGES[name]
    hnet = Changed(change)
    samples = PAIRS["HMLP, MLP"].samples(4, 1)
    found = Ensemble.from_hypnettorch(hnet, hnet.mnet, example_inputs=samples[:2])
    assert len(captures) <= most
    for member in range(MEMBERS):
        expected = hnet.mnet.forward(samples, weights=hnet.forward(member)).detach()
        assert (found(member, {"x": samples})["output"] - expected).norm() <= 1e-5 * expected.norm()
