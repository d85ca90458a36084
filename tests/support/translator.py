"""A small transformer: two inputs, four outputs, tied embeddings, a mask of padding; its bundle is built once."""

import functools
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.spec.kinds import Logits

MEMBERS, LENGTH, WORDS, WIDTH, HEADS = 3, 6, 19, 8, 2


class Attention(nn.Module):
    """Two heads, in the operators of a textbook; padding is not looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, hidden: Tensor, padding: Tensor) -> Tensor:
        query, key, value = (self._heads(part(hidden)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5
        weights = scores.masked_fill(padding[:, None, None, :], -1e4).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).reshape(hidden.shape))

    def _heads(self, hidden: Tensor) -> Tensor:
        return hidden.reshape(hidden.shape[0], hidden.shape[1], HEADS, -1).transpose(1, 2)


class Translator(nn.Module):
    """Tokens `[batch, time]`, of which 0 is padding, and their weighting."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Parameter(0.5 * torch.randn(LENGTH, WIDTH))
        self.norm1, self.norm2, self.norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.inner, self.outer = nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH)
        self.classify, self.score = nn.Linear(WIDTH, 3), nn.Linear(WIDTH, 3)
        self.decode = nn.Linear(WIDTH, WORDS, bias=False)
        self.decode.weight = self.tokens.weight

    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        hidden = self.tokens(tokens) + self.positions[torch.arange(tokens.shape[1])]
        hidden = hidden + self.attention(self.norm1(hidden), tokens == 0)
        hidden = self.norm(hidden + self.outer(torch.relu(self.inner(self.norm2(hidden)))))
        pooled = (hidden * weighting[:, :, None]).mean(1)
        classes = self.classify(pooled)
        return {
            "classes": classes,
            "decoded": self.decode(hidden),
            "scores": self.score(pooled),
            "choice": classes.argmax(1),
        }


def texts(samples: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(6)
    tokens = torch.randint(0, WORDS, (samples, LENGTH), generator=random)
    return {"tokens": tokens, "weighting": torch.rand(samples, LENGTH, generator=random) + 0.1}


def translators() -> list[Translator]:
    members = []
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        module = Translator()
        for parameter in module.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape)
        members.append(module.eval())
    for module in members[1:]:  # one module is shared
        module.inner.load_state_dict(members[0].inner.state_dict())
    return members


def ensemble(modules: list[nn.Module] | None = None) -> Ensemble:
    open_axes = {0: "batch", 1: "time"}
    return Ensemble.from_modules(
        modules or translators(),
        example_inputs=texts(4),
        dynamic_axes={"tokens": open_axes, "weighting": open_axes},
        outputs={"classes": Logits(), "decoded": Logits(axis=2)},
    )


@functools.cache
def bundle() -> Path:
    """Built with every check, in every format. Not to be changed."""
    target = Path(tempfile.mkdtemp(prefix="hnexport-translator-")) / "bundle"
    build(ensemble(), target, options=BuildOptions(formats=tuple(Format)))
    return target
