"""Small bundles of lists of modules that have nothing in common with an image classifier, for tests of locating."""

import copy
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from shared import build_once
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.ensemble import Ensemble

MEMBERS = 3


class Encoder(nn.Module):
    """Two inputs, one of them an index; two outputs; tied embeddings, positions, LayerNorm, attention."""

    def __init__(self, vocabulary: int = 23, width: int = 16, length: int = 6) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.5 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 2, 24, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 3)
        self.decode = nn.Linear(width, vocabulary, bias=False)
        self.decode.weight = self.tokens.weight
        self.register_buffer("order", torch.arange(length).flip(0))

    def forward(self, tokens: Tensor, weighting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.norm(self.encoder(self.tokens(tokens[:, self.order]) + self.positions))
        pooled = (hidden * weighting[:, :, None]).sum(1) / weighting.sum(1, keepdim=True)
        classes = self.classify(pooled)
        return classes, self.decode(hidden), classes.argmax(1)


class Cnn(nn.Module):
    """GroupNorm, a depthwise convolution, a residual, PReLU, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.act = nn.PReLU(8)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.GELU(), nn.Conv2d(8, 8, 1))
        self.up = nn.ConvTranspose2d(8, 6, 4, 2, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.stem(image)))
        hidden = hidden + self.body(hidden)
        return self.head(F.relu(self.up(hidden)).mean((2, 3)))


class Recurrent(nn.Module):
    """A GRU in two directions over a series."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True, bidirectional=True)
        self.out = nn.Linear(12, 4)

    def forward(self, series: Tensor) -> Tensor:
        return self.out(self.rnn(series)[0][:, -1])


class Residual(nn.Module):
    """Batch norm, and two blocks of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.stem(image)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden.mean((2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def _images(samples: int) -> dict[str, Tensor]:
    return {"image": torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(5))}


def _texts(samples: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(6)
    tokens = torch.randint(0, 23, (samples, 6), generator=random)
    return {"tokens": tokens, "weighting": torch.rand(samples, 6, generator=random) + 0.1}


def _series(samples: int) -> dict[str, Tensor]:
    return {"series": torch.randn(samples, 5, 4, generator=torch.Generator().manual_seed(7))}


MODULES: Mapping[str, tuple[Callable[[], nn.Module], Callable[[int], dict[str, Tensor]], tuple[str, ...]]] = {
    "encoder": (Encoder, _texts, ("classes", "decoded", "choice")),
    "cnn": (Cnn, _images, ("logits",)),
    "recurrent": (Recurrent, _series, ("logits",)),
    "residual": (Residual, _images, ("logits",)),
}


def modules_of(kind: str) -> list[nn.Module]:
    """Members as after training: norms and biases differ everywhere."""
    members = []
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        module = MODULES[kind][0]()
        random = torch.Generator().manual_seed(100 + seed)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point() and tensor.dim() <= 1:
                noise = 0.3 * torch.randn(tensor.shape, generator=random)
                tensor.data = tensor.data * noise.exp() if "var" in name else tensor.data + noise
        members.append(module.eval())
    for module in members[1:]:  # the input layer is shared
        next(iter(module.children())).load_state_dict(copy.deepcopy(next(iter(members[0].children())).state_dict()))
    return members


@functools.cache
def module_bundle(kind: str) -> Path:
    """A bundle of three members in every format, built once a run; not to be changed."""
    _, inputs, outputs = MODULES[kind]
    return build_once(Ensemble.from_modules(modules_of(kind), example_inputs=inputs(2), outputs=outputs)).path
