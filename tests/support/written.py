"""The files of bundles of every kind, with inputs and what PyTorch says of them in float64."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles import KINDS, small_bundle
from module_ensembles import Kind, normal
from shared import built_kind
from torch import Tensor, nn

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.spec import Signature

SAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class Written:
    """Files and what they should say.

    Attributes:
        supplied: what the loader of `network.onnx` supplies.
        inputs: by name `[sample, …]`.
        outputs: by name `[member, sample, …]`, float64 where they are floating-point.
    """

    folder: Path
    signature: Signature
    members: int
    supplied: tuple[str, ...]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class Encoder(nn.Module):
    """Two inputs, two outputs, tied embeddings, layer norm and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.norm, self.width, self.head = nn.LayerNorm(8), nn.Linear(8, 3), nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        x = self.embed(tokens) * weighting[:, None, None]
        shares = (self.query(x) @ self.key(x).transpose(1, 2) / 8**0.5).softmax(-1)
        pooled = self.norm(x + shares @ self.value(x)).mean(1)
        return {"logits": self.head(pooled), "width": self.width(pooled)}


class Bottleneck(nn.Module):
    """Group norm, depthwise and transposed convolutions, PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.slope, self.up = nn.GroupNorm(2, 8), nn.PReLU(8), nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.slope(self.norm(self.depthwise(self.first(x))))).mean((2, 3)))


class Residual(nn.Module):
    """Batch norms, which belong to members."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm1, self.norm2, self.head = nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.first(x)).relu()
        return self.head((x + self.norm2(self.second(x))).relu().mean((2, 3)))


class Recurrent(nn.Module):
    """A GRU over a fixed time axis."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.gru(series)[0][:, -1])


def _tokens(batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 11, (batch, 5), generator=random)
    return {"tokens": tokens, "weighting": torch.rand(batch, generator=random) + 0.5}


LISTS = {
    "list of encoders": Kind(make=Encoder, count=3, inputs=_tokens),
    "list of CNNs": Kind(make=Bottleneck, count=3, inputs=normal(x=(3, 8, 8)), equal=("slope.weight",)),
    "list of ResNets": Kind(make=Residual, count=3, inputs=normal(x=(3, 8, 8))),
    "list of GRUs": Kind(make=Recurrent, count=3, inputs=normal(series=(7, 4))),
}
"""Plain networks: what every runtime can read of them is known."""
ALL_KINDS = (*KINDS, *LISTS)


@functools.cache
def written(kind: str) -> Written:
    """The files of a kind: a Wide ResNet's bundle, or that of a list of modules. Not to be changed."""
    return _of_bundle(small_bundle(kind)) if kind in KINDS else _of_list(kind)


def _of_bundle(bundle: Path) -> Written:
    manifest, golden = read_manifest(bundle), read_golden(bundle)
    assert manifest.onnx is not None
    assert golden.members.tolist() == list(range(manifest.members))
    return Written(
        folder=bundle,
        signature=manifest.signature,
        members=manifest.members,
        supplied=manifest.onnx.supplied,
        inputs=golden.inputs,
        outputs=golden.outputs,
    )


def _of_list(kind: str) -> Written:
    made = LISTS[kind]
    built = built_kind(kind, made)
    assert built.manifest.onnx is not None
    inputs, exact = made.inputs(SAMPLES, 7), made.ensemble().double()
    double = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    with torch.no_grad():
        outputs = [exact(member, double) for member in range(exact.members)]
    return Written(
        folder=built.path,
        signature=built.manifest.signature,
        members=exact.members,
        supplied=built.manifest.onnx.supplied,
        inputs={name: value.numpy() for name, value in inputs.items()},
        outputs={name: np.stack([one[name].numpy() for one in outputs]) for name in outputs[0]},
    )
