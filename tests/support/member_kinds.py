"""A bundle of every kind that a member can be written of: each is built once a run, by whoever needs it first."""

from collections.abc import Callable
from pathlib import Path

import torch
from bundles import small_bundle
from live_pairs import PAIRS
from module_recipes import RECIPES
from shared import built_kind, built_list
from torch import Tensor, nn

from hnexport.ensemble import Ensemble


class Film(nn.Module):
    """`forward(cond_id, x)`: weights are made inside the network."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(5, 8)
        self.scale = nn.Linear(8, 16)
        self.body, self.head = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, task: Tensor, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu() * self.scale(self.embeddings(task)))


class _Conditional:
    """As a `Kind`."""

    def ensemble(self) -> Ensemble:
        torch.manual_seed(5)
        example = torch.zeros(1, 4)
        return Ensemble.from_conditional(Film().eval(), members=5, example_inputs=example, outputs=("logits",))


class Gelu(nn.Module):
    """An operator that ONNX has since opset 20, and one that torch.onnx spells out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.gelu(self.norm(self.first(x))))


class _Gelus:
    """As a `Kind`."""

    def ensemble(self) -> Ensemble:
        torch.manual_seed(6)
        return Ensemble.from_modules([Gelu().eval() for _ in range(2)], example_inputs=torch.zeros(1, 4))


KINDS: dict[str, Callable[[], Path]] = {
    "Wide ResNet": lambda: small_bundle("hypernet"),
    "Wide ResNet of pixels": lambda: small_bundle("pixels"),
    "members' own batch norms": lambda: small_bundle("batch-ensemble"),
    **{f"list, {name}": lambda name=name: built_list(name).path for name in ("cnn", "reader", "recurrent", "scorer")},  # type: ignore[misc] # mypy cannot infer the lambda
    "conditional": lambda: built_kind("member-film", _Conditional()).path,
    "gelu": lambda: built_kind("member-gelu", _Gelus()).path,
    "hypnettorch": lambda: built_kind("member-pair", PAIRS["HContainer with heads, MLP"]).path,
    "recipe": lambda: built_kind("member-recipe", RECIPES["tabular"]).path,
}
