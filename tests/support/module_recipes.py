"""Modules with recipes: a vision transformer, an MLP on tabular data, a 1-D convolution over tokens with a mask."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.ensemble import Ensemble
from hnexport.networks.recipes.recipe import ModuleRecipe, Planner, Rule
from hnexport.spec import Activation


class Attention(nn.Module):
    """Self-attention over patches."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm, attention, MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patches of 4x4, a class token, positions."""

    def __init__(self, width: int = 32, blocks: int = 3, size: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 1 + (size // 4) ** 2, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, 4) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class Tabular(nn.Module):
    """Numbers and categories, batch norm, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.category = nn.Embedding(7, 4)
        self.layers = nn.Sequential(
            *(nn.Linear(13, 48), nn.BatchNorm1d(48), nn.SiLU(), nn.Linear(48, 48), nn.BatchNorm1d(48), nn.SiLU())
        )
        self.mean, self.spread = nn.Linear(48, 2), nn.Linear(48, 2)

    def forward(self, numbers: Tensor, category: Tensor) -> dict[str, Tensor]:
        x = self.layers(torch.cat([numbers, self.category(category)], dim=1))
        return {"mean": self.mean(x), "spread": 0.01 + F.softplus(self.spread(x))}


class Convolution(nn.Module):
    """1-D convolutions over a sequence of tokens with a mask; the decoder is tied to the embedding."""

    def __init__(self, vocabulary: int = 40, width: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList([nn.Conv1d(width, width, 5, padding=2) for _ in range(3)])
        self.decoder = nn.Linear(width, vocabulary, bias=False)
        self.decoder.weight = self.embedding.weight
        self.head = nn.Linear(width, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        keep = mask.unsqueeze(1)
        x = self.embedding(tokens).transpose(1, 2)
        for layer in self.layers:
            x = torch.where(keep, x + F.relu(layer(x)), torch.zeros_like(x))
        pooled = x.sum(2) / keep.sum(2).clamp(min=1)
        return {"classes": self.head(pooled), "words": self.decoder(x.transpose(1, 2))}


def _images(batch: int, seed: int) -> dict[str, Tensor]:
    return {"image": torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(seed))}


def _rows(batch: int, seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    numbers, category = torch.randn(batch, 9, generator=random), torch.randint(0, 7, (batch,), generator=random)
    return {"numbers": numbers, "category": category}


def _words(batch: int, seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 40, (batch, 12), generator=random)
    return {"tokens": tokens, "mask": torch.arange(12) < torch.randint(2, 13, (batch, 1), generator=random)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A module with a recipe.

    Attributes:
        inputs: `(batch, seed) -> {input: tensor}`.
        typed: its inputs and outputs as options of `hnexport build --from`.
        generated: how many tensors the recipe generates.
    """

    make: Callable[[], nn.Module]
    recipe: ModuleRecipe
    members: int
    inputs: Callable[[int, int], dict[str, Tensor]]
    typed: str
    generated: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def module(self) -> nn.Module:
        """Made anew, always the same; its batch norms have seen data."""
        with torch.random.fork_rng():
            torch.manual_seed(5)
            module = self.make()
            for _ in range(3):
                module(**self.inputs(64, 3))
        return module.eval()

    def ensemble(self, **changes: Any) -> Ensemble:
        """The ensemble with weights of a seed."""
        given = {"members": self.members, "example_inputs": self.inputs(2, 1), **self.options, **changes}
        return Ensemble.from_recipe(self.module(), given.pop("recipe", self.recipe), **given)


RECIPES: dict[str, Case] = {
    "vision-transformer": Case(
        make=VisionTransformer,
        recipe=ModuleRecipe(
            rules=(
                Rule("blocks.*.norm?.*", "member"),
                Rule("blocks.*", "generated"),
                Rule("head.*", "member"),
                Rule("*", "shared"),
            ),
            chunk_size=2048,
        ),
        members=4,
        inputs=_images,
        typed="--input image=float32[batch,3,16,16] --output logits=logits",
        generated=24,
        options={"outputs": {"logits": "logits"}},
    ),
    "tabular": Case(
        make=Tabular,
        recipe=ModuleRecipe(
            rules=(
                Rule("*running_*", "member"),
                Rule("layers.[03].*", "generated"),
                Rule("mean.*", "generated"),
                Rule("spread.*", "member"),
                Rule("*", "shared"),
            ),
            planner=Planner.WHOLE,
            embedding_size=5,
            hidden_layers=(16,),
            bias=True,
            activation=Activation.TANH,
        ),
        members=5,
        inputs=_rows,
        typed="--input numbers=float32[batch,9] --input category=int64[batch]:0..6",
        generated=6,
    ),
    "convolution": Case(
        make=Convolution,
        recipe=ModuleRecipe(
            rules=(Rule("layers.*", "generated"), Rule("embedding.*", "generated"), Rule("head.*", "member")),
            planner=Planner.FLAT,
            chunk_size=1000,
        ),
        members=3,
        inputs=_words,
        typed="--input tokens=int64[batch,12]:0..39 --input mask=bool[batch,12] --output classes=logits --output words",
        generated=7,
        options={"outputs": {"classes": "logits", "words": "value"}},
    ),
}


def made(kind: str) -> tuple[nn.Module, ModuleRecipe, int]:
    """One of `RECIPES`, as `hnexport build --from` takes it."""
    case = RECIPES[kind]
    return case.module(), case.recipe, case.members
