"""Hypernetworks of a vector with the networks that they make the weights of; `CASES` are those that tests build."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hnexport.ensemble import Ensemble

SIZE = 6


class Main(nn.Module):
    """A body that is generated, a norm and a head that stay the network's own, and a tied scale."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)
        self.norm = nn.BatchNorm1d(5)
        self.scale = nn.Parameter(torch.randn(5))
        self.tied: Any = nn.Module()
        self.tied.scale = self.scale

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.norm(self.first(x))) * self.scale) * self.tied.scale.sum()


class Hyper(nn.Module):
    """`(cond_id, condition) -> tensors`; embeddings of the members are added to the condition."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(members, SIZE)
        self.body = nn.Sequential(nn.Linear(SIZE, 8), nn.ReLU())
        self.weight, self.bias = nn.Linear(8, 5 * 4), nn.Parameter(torch.randn(5))

    def forward(self, cond_id: Tensor, condition: Tensor) -> dict[str, Tensor]:
        hidden = self.body(condition + self.embeddings(cond_id))
        return {"first.weight": self.weight(hidden).view(5, 4), "first.bias": self.bias, "tied.scale": hidden[:5]}


class OfVector(Hyper):
    """A condition alone, which is one of the tensors itself."""

    def forward(self, condition: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {
            "first.weight": self.weight(self.body(condition)).view(5, 4),
            "scale": condition[:5],
            "first.bias": self.bias,
        }


class OfIds(Hyper):
    """Condition ids alone, under another name."""

    def forward(self, task: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return super().forward(task, torch.ones(SIZE))


class OfTwo(nn.Module):
    """Two conditions, one of them a scalar, one the very tensor of a slot."""

    def forward(self, shift: Tensor, gain: Tensor) -> dict[str, Tensor]:
        return {"first.bias": shift, "first.weight": torch.outer(shift, torch.arange(4.0)) * gain}


@dataclass(frozen=True, kw_only=True)
class Case:
    hypernet: Callable[[], nn.Module]
    conditions: Mapping[str, tuple[int, ...]]
    members: int | None = None

    def modules(self) -> tuple[nn.Module, nn.Module]:
        with torch.random.fork_rng():
            torch.manual_seed(4)
            network = Main()
            network.norm.get_buffer("running_mean").normal_()
            network.norm.get_buffer("running_var").uniform_(0.5, 1.5)
            return self.hypernet().eval(), network.eval()

    def given(self, seed: int = 0, batch: int = 3) -> dict[str, Tensor]:
        random = torch.Generator().manual_seed(seed)
        shapes = {**self.conditions, "x": (batch, 4)}
        return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}

    def ensemble(self, **options: Any) -> Ensemble:
        given = {"members": self.members, "example_inputs": self.given(9, 2), "outputs": ("y",), **options}
        return Ensemble.from_hypernetwork(*self.modules(), **given)

    def expected(self, member: int, given: Mapping[str, Tensor]) -> Tensor:
        """What the modules themselves compute."""
        hypernet, network = self.modules()
        ids = () if self.members is None else (torch.tensor(member),)
        with torch.no_grad():
            made = hypernet(*ids, **{name: given[name] for name in self.conditions})
            found: Tensor = functional_call(network, made, (given["x"],))
        return found


CASES = {
    "both": Case(hypernet=lambda: Hyper(3), conditions={"condition": (SIZE,)}, members=3),
    "vector": Case(hypernet=lambda: OfVector(1), conditions={"condition": (SIZE,)}),
    "ids": Case(hypernet=lambda: OfIds(3), conditions={}, members=3),
    "two": Case(hypernet=OfTwo, conditions={"shift": (5,), "gain": ()}),
}
