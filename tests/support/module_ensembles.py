"""Lists of modules of many kinds, as after training: nothing is zero, one or equal by chance of initialisation.

`ENSEMBLES` are those that tests build, verify, load and damage; `shared.built_list` has the bundle of each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.ensemble import Ensemble
from hnexport.spec.kinds import Logits


class Cnn(nn.Module):
    """GroupNorm, a depthwise and a transposed convolution, PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.act = nn.PReLU(16)
        self.depthwise = nn.Conv2d(16, 16, 3, 2, 1, groups=16, bias=False)
        self.pointwise = nn.Conv2d(16, 24, 1)
        self.up = nn.ConvTranspose2d(24, 12, 4, 2, 1)
        self.last_act = nn.PReLU()
        self.head = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(image)))
        x = self.last_act(self.up(self.pointwise(self.depthwise(x))))
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    """Two inputs, of which one is int64, two outputs, a tied embedding, buffers in and outside the state dict."""

    scale: Tensor
    order: Tensor

    def __init__(self, vocabulary: int = 50, width: int = 32, length: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.1)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classify = nn.Linear(width, 3)
        self.decode = nn.Linear(width, vocabulary, bias=False)
        self.decode.weight = self.embedding.weight
        self.register_buffer("scale", torch.tensor(width**-0.5), persistent=False)
        self.register_buffer("order", torch.randperm(length))

    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        hidden = self.embedding(tokens[:, self.order]) * self.scale + self.position
        hidden = self.encoder(hidden)
        pooled = (hidden * weighting[:, :, None]).sum(1) / weighting.sum(1, keepdim=True)
        return {"classes": self.classify(pooled), "words": self.decode(hidden)}


class Basic(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.down = None
        if channels != out or stride != 1:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    """Batch norm and shortcuts."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        sizes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        self.layers = nn.Sequential(*[Basic(*each) for each in sizes])
        self.fc = nn.Linear(4 * width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn(self.conv(image))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Recurrent(nn.Module):
    """A GRU below, an LSTM above."""

    def __init__(self) -> None:
        super().__init__()
        self.below = nn.GRU(6, 8, batch_first=True, bidirectional=True)
        self.above = nn.LSTM(16, 8, batch_first=True)
        self.out = nn.Linear(8, 4)

    def forward(self, series: Tensor) -> Tensor:
        return self.out(self.above(self.below(series)[0])[0][:, -1])


class Reader(nn.Module):
    """Tokens and their weights to logits, a decoded text over the same embedding, and the most probable class."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.mix, self.classify = nn.Linear(8, 8), nn.Linear(8, 3)
        self.decode = nn.Linear(8, 11, bias=False)
        self.decode.weight = self.embed.weight
        self.register_buffer("order", torch.randperm(8))

    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(self.mix(self.embed(tokens)[..., self.order]))
        pooled = (hidden * weighting[..., None]).sum(1) / weighting.sum(1, keepdim=True)
        logits = self.classify(pooled)
        return {"logits": logits, "decoded": self.decode(hidden), "choice": logits.argmax(1)}


class Scorer(nn.Module):
    """Tokens `[batch, time]`, their weighting, and a shift that is the same for all samples."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.hidden = nn.Linear(8, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, tokens: Tensor, weighting: Tensor, shift: Tensor) -> dict[str, Tensor]:
        pooled = (self.embedding(tokens) * weighting[:, :, None]).mean(1) + shift
        scores = self.head(torch.tanh(self.hidden(pooled)))
        return {"scores": scores, "choice": scores.argmax(1), "length": weighting.sum(1)}


class Pixels(nn.Module):
    """Logits of every pixel: the classes are the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, field: Tensor) -> Tensor:
        return self.conv(field)


class Regressor(nn.Module):
    """In float64, with a setting that all samples share, and one number for the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8).double(), nn.Linear(8, 2).double()

    def forward(self, features: Tensor, setting: Tensor) -> tuple[Tensor, Tensor]:
        found = self.last(torch.tanh(self.first(features) * setting))
        return found, setting.square().sum() + self.last.bias.sum()


class Branching(nn.Module):
    """`torch.cond` by an input that all samples share, and by weights, so that members take different branches."""

    def __init__(self) -> None:
        super().__init__()
        self.hot, self.cold, self.head = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, setting: Tensor) -> Tensor:
        taken = torch.cond(self.hot.bias.sum() > 0, lambda x: self.hot(x), lambda x: self.cold(x).relu(), (x,))
        return torch.cond(setting.sum() > 0, lambda y: self.head(y), lambda y: self.head(torch.tanh(y)), (taken,))


def trained(module: nn.Module, seed: int) -> nn.Module:
    """As after training: every parameter moves a little, statistics are those of some data."""
    random = torch.Generator().manual_seed(1000 + seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random) * 0.05)
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
                assert part.running_var is not None
                assert part.num_batches_tracked is not None
                part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=random) * 0.1)
                part.running_var.copy_(torch.rand(part.running_var.shape, generator=random) + 0.5)
                part.num_batches_tracked.fill_(seed)
    return module.eval()


def members(make: Callable[[], nn.Module], count: int, equal: Sequence[str] = (), seed: int = 0) -> list[nn.Module]:
    """Modules of a kind; `equal` parameters have the same values in all, as other objects."""
    found = []
    for number in range(count):
        with torch.random.fork_rng():
            torch.manual_seed(100 * seed + number)
            found.append(trained(make(), 100 * seed + number))
    for name in equal:
        for module in found[1:]:
            module.get_parameter(name).data.copy_(found[0].get_parameter(name))
    return found


def random_inputs(batch: int = 2, seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Standard normal numbers by input."""
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, *shape, generator=random) for name, shape in shapes.items()}


def _words(vocabulary: int, length: int) -> Callable[[int, int], dict[str, Tensor]]:
    def draw(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
        random = torch.Generator().manual_seed(seed)
        tokens = torch.randint(0, vocabulary, (batch, length), generator=random)
        return {"tokens": tokens, "weighting": torch.rand(batch, length, generator=random) + 0.1}

    return draw


def _shifted(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    shift = torch.randn(8, generator=torch.Generator().manual_seed(1000 + seed))
    return {**_words(20, 5)(batch, seed), "shift": shift}


def _features(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "features": torch.randn(batch, 4, generator=random, dtype=torch.float64),
        "setting": torch.rand(1, generator=random, dtype=torch.float64) + 0.5,
    }


def _settings(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {"x": torch.randn(batch, 4, generator=random), "setting": torch.randn(1, generator=random)}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of list.

    Attributes:
        inputs: `(batch, seed) -> {input: tensor}`.
    """

    make: Callable[[], nn.Module]
    count: int
    inputs: Callable[[int, int], dict[str, Tensor]]
    equal: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def modules(self, seed: int = 0) -> list[nn.Module]:
        """The members, made anew."""
        return members(self.make, self.count, self.equal, seed)

    def ensemble(self, seed: int = 0) -> Ensemble:
        """The ensemble of the members."""
        return self.ensemble_of(self.modules(seed))

    def ensemble_of(self, modules: Sequence[nn.Module]) -> Ensemble:
        """The ensemble of other modules of the kind."""
        return Ensemble.from_modules(modules, example_inputs=self.inputs(2, 9), **self.options)


def normal(**shapes: tuple[int, ...]) -> Callable[[int, int], dict[str, Tensor]]:
    """Of a `Kind` whose inputs are standard normal numbers."""
    return lambda batch=2, seed=0: random_inputs(batch, seed, **shapes)  # type: ignore[misc] # mypy cannot infer the lambda


_TEXT = {0: "batch", 1: "time"}
ENSEMBLES: dict[str, Kind] = {
    "cnn": Kind(
        make=Cnn,
        count=4,
        inputs=normal(image=(3, 16, 16)),
        equal=("stem.weight",),
        options={"outputs": {"logits": Logits()}},
    ),
    "transformer": Kind(
        make=Transformer,
        count=5,
        inputs=_words(50, 12),
        equal=("classify.bias",),
        options={"outputs": {"classes": Logits(), "words": Logits(axis=-1)}},
    ),
    "resnet": Kind(make=ResNet, count=3, inputs=normal(image=(3, 16, 16)), options={"outputs": {"logits": "logits"}}),
    "recurrent": Kind(make=Recurrent, count=3, inputs=normal(series=(5, 6))),
    "reader": Kind(
        make=Reader,
        count=3,
        inputs=_words(11, 6),
        equal=("classify.bias",),
        options={
            "dynamic_axes": {"tokens": _TEXT, "weighting": _TEXT},
            "outputs": {"logits": Logits(axis=1), "decoded": Logits(axis=2)},
            "name": "reader",
        },
    ),
    "scorer": Kind(
        make=Scorer,
        count=3,
        inputs=_shifted,
        options={
            "dynamic_axes": {"tokens": _TEXT, "weighting": _TEXT, "shift": {}},
            "outputs": {"scores": Logits(axis=1)},
            "name": "scorer",
        },
    ),
    "pixels": Kind(make=Pixels, count=3, inputs=normal(field=(2, 5, 5)), options={"outputs": {"output": Logits()}}),
    "regressor": Kind(
        make=Regressor,
        count=2,
        inputs=_features,
        options={"dynamic_axes": {"features": {0: "batch"}, "setting": {}}, "outputs": ("mean", "whole")},
    ),
}

BRANCHING = Kind(
    make=Branching,
    count=3,
    inputs=_settings,
    options={"dynamic_axes": {"x": {0: "batch"}, "setting": {}}, "outputs": {"output": Logits()}},
)
